// The benchmark's BullMQ program, written as BullMQ's guide shows:
//   add SECONDS   adds jobs, 64 concurrently, and prints how many
//   serve PORT    adds one job per POST request
//   work          processes jobs, 32 concurrently, until it is stopped
// Finished jobs are kept for an hour, as in qwen-queue.
import { createServer } from 'node:http';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [mode, argument] = process.argv.slice(2);
const connection = new Redis(Number(process.env.BENCH_REDIS_PORT), '127.0.0.1', { maxRetriesPerRequest: null });
const options = { attempts: 3, removeOnComplete: { age: 3600 } };
const body = JSON.parse(process.env.BENCH_BODY);
const queue = () => new Queue('bench', { connection });

if (mode === 'work') {
  const noop = async () => ({ text: 'ok', prompt_tokens: 50, completion_tokens: 1 });
  new Worker('bench', noop, { connection, concurrency: 32 });
} else if (mode === 'serve') {
  const jobs = queue();
  createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const job = await jobs.add('generate', JSON.parse(Buffer.concat(chunks)), options);
    const answer = JSON.stringify({ status: 'queued', task_id: job.id, message: 'Task queued' });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer) };
    response.writeHead(202, headers).end(answer);
  }).listen(Number(argument), '127.0.0.1');
} else {
  const jobs = queue();
  await jobs.waitUntilReady();
  const began = performance.now();
  const until = began + Number(argument) * 1000;
  let added = 0;
  const line = async () => {
    while (performance.now() < until) {
      await jobs.add('generate', body, options);
      added += 1;
    }
  };
  await Promise.all(Array.from({ length: 64 }, line));
  console.log(JSON.stringify({ added, per_second: added / (performance.now() - began) * 1000 }));
  await jobs.close();
  connection.disconnect();
}
