//! How much memory the process holds.

/// Resident memory in KiB, where there is a `/proc`.
pub(crate) fn resident_kib() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_kib()?)
}

/// The page size is not in `statm`; the kernel tells every process its own in
/// the auxiliary vector, under `AT_PAGESZ`.
fn page_kib() -> Option<u64> {
    const AT_PAGESZ: usize = 6;
    let auxv = std::fs::read("/proc/self/auxv").ok()?;
    let mut words = auxv
        .chunks_exact(size_of::<usize>())
        .filter_map(|bytes| Some(usize::from_ne_bytes(bytes.try_into().ok()?)));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == AT_PAGESZ {
            return Some(value as u64 / 1024);
        }
    }
    None
}
