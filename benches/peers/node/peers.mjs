// One line of JSON in, one line out: a round of a queue, run when it is asked
// for. The first line out names the versions.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Bottleneck from 'bottleneck';
import pLimit from 'p-limit';
import PQueue from 'p-queue';

const SLOTS = 8;

const version = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const submits = {
  'p-queue': () => {
    const queue = new PQueue({ concurrency: SLOTS });
    return (task) => queue.add(task);
  },
  'p-queue, timeout': () => {
    const queue = new PQueue({ concurrency: SLOTS, timeout: 60_000 });
    return (task) => queue.add(task);
  },
  'p-limit': () => pLimit(SLOTS),
  bottleneck: () => {
    const limiter = new Bottleneck({ maxConcurrent: SLOTS });
    return (task) => limiter.schedule(task);
  },
};

async function round({ peer, tasks }) {
  const submit = submits[peer]();
  const began = process.hrtime.bigint();
  const results = [];
  for (let n = 0; n < tasks; n++) results.push(submit(async () => n));
  let sum = 0;
  for (const n of await Promise.all(results)) sum += n;
  return { ns: Number(process.hrtime.bigint() - began), sum };
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

say({
  node: process.versions.node,
  ...Object.fromEntries(['p-queue', 'p-limit', 'bottleneck'].map((name) => [name, version(name)])),
});
for await (const line of createInterface({ input: process.stdin })) say(await round(JSON.parse(line)));
