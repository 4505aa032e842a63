//! Lines from a stranger: of any length, in any encoding, with or without an end.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::coop;

/// A longer line comes in pieces, so that no child decides how much we hold.
const LONGEST: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    partial: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            partial: Vec::new(),
        }
    }

    /// The next line, fit to be printed; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// What has been read of a line stays here for the next call.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        // A full buffer holds thousands of lines, and others want the thread.
        coop::consume_budget().await;
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                // The end; what had no newline is a line all the same.
                return Ok((!self.partial.is_empty()).then(|| self.take()));
            }
            let newline = chunk.iter().position(|&byte| byte == b'\n');
            let text = newline.unwrap_or(chunk.len());
            self.partial.extend_from_slice(&chunk[..text]);
            self.reader.consume(newline.map_or(text, |at| at + 1));
            if newline.is_some() || self.partial.len() >= LONGEST {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.partial);
        // Cursor movements and colours are the child's, the terminal is ours.
        let line = text.trim_end().replace(char::is_control, " ");
        self.partial.clear();
        line
    }
}
