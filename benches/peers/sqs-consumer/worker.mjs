// An order worker as teams write it with Node.js: sqs-consumer polls, a lock in Redis keeps a customer's orders apart,
// and each order is one transaction in PostgreSQL. Several consumers share the process, its lock client and its pool.
//
// It writes the tables that Millrace writes, and keeps a customer's sequence by a compare-and-set, so both do the same
// work and promise the same. Statements are prepared by name, lines go in one statement, deletes in batches of ten.
//
//   QUEUE_URL, REDIS_URL, DATABASE_URL   where; AWS_REGION, AWS_ENDPOINT_URL_SQS and credentials as the SDK reads them
//   CONSUMERS                            how many poll; each handles its ten messages at once

import { createHash, randomUUID } from 'node:crypto';
import { Agent } from 'node:http';

import { ChangeMessageVisibilityBatchCommand, SQSClient } from '@aws-sdk/client-sqs';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Consumer } from 'sqs-consumer';

const { QUEUE_URL, REDIS_URL, DATABASE_URL } = process.env;
const CONSUMERS = Number(process.env.CONSUMERS);
const BATCH = 10;

const LOCK_MS = 15_000;
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 25;
// For a message whose turn has not come: seconds until it is delivered again.
const AGAIN_SECONDS = 1;

const sqs = new SQSClient({
  // AWS_ENDPOINT_URL_SQS decides, not the host in the queue's URL.
  useQueueUrlAsEndpoint: false,
  requestHandler: { httpAgent: new Agent({ keepAlive: true, maxSockets: 2 * CONSUMERS + 8 }) },
});
const redis = new Redis(REDIS_URL);
// Only the owner releases: the lease may have gone to somebody else meanwhile.
redis.defineCommand('release', {
  numberOfKeys: 1,
  lua: "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0",
});
// More connections than this wait for the server's two cores and gain nothing; the script tries it.
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(process.env.POOL) });

const FIRST = {
  name: 'first',
  text: 'INSERT INTO customers (customer_id, last_position) VALUES ($1, 1) ON CONFLICT DO NOTHING',
};
const MOVE = {
  name: 'move',
  text: 'UPDATE customers SET last_position = $2 WHERE customer_id = $1 AND last_position = $2 - 1',
};
const KNOWN = { name: 'known', text: 'SELECT 1 FROM orders WHERE order_id = $1' };
const ORDER = {
  name: 'order',
  text: `INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
};
const LINES = {
  name: 'lines',
  text: `INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor)
         SELECT $1, line_number, sku, quantity, price
         FROM unnest($2::int[], $3::text[], $4::int[], $5::bigint[]) AS l (line_number, sku, quantity, price)`,
};
const EVENT = {
  name: 'event',
  text: "INSERT INTO order_events (order_id, customer_id, position, kind) VALUES ($1, $2, $3, 'committed')",
};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function locked(customer, work) {
  const key = `peer:lock:${customer}`;
  const token = randomUUID();
  for (let tries = 0; tries < LOCK_TRIES; tries += 1) {
    if (await redis.set(key, token, 'PX', LOCK_MS, 'NX')) {
      try {
        return await work();
      } finally {
        await redis.release(key, token);
      }
    }
    await sleep(LOCK_PAUSE_MS);
  }
  return false;
}

// True when the order is in the database, now or since before; false when its turn has not come.
async function commit(order, body) {
  const { order_id, customer_id, sequence, currency, placed_at, lines } = order;
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const moved =
      sequence === 1
        ? await client.query({ ...FIRST, values: [customer_id] })
        : await client.query({ ...MOVE, values: [customer_id, sequence] });
    if (moved.rowCount === 0) {
      const known = await client.query({ ...KNOWN, values: [order_id] });
      await client.query('ROLLBACK');
      return known.rowCount > 0;
    }
    const total = lines.reduce((sum, line) => sum + line.quantity * line.unit_price_minor, 0);
    const digest = createHash('sha256').update(body).digest();
    await client.query({
      ...ORDER,
      values: [order_id, customer_id, sequence, digest, currency, total, placed_at, body],
    });
    await client.query({
      ...LINES,
      values: [
        order_id,
        lines.map((_, index) => index + 1),
        lines.map((line) => line.sku),
        lines.map((line) => line.quantity),
        lines.map((line) => line.unit_price_minor),
      ],
    });
    await client.query({ ...EVENT, values: [order_id, customer_id, sequence] });
    await client.query('COMMIT');
    return true;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

// Customers side by side, the orders of one customer one after the other.
async function handleMessageBatch(messages) {
  const customers = new Map();
  for (const message of messages) {
    const order = JSON.parse(message.Body);
    const theirs = customers.get(order.customer_id) ?? [];
    customers.set(order.customer_id, theirs);
    theirs.push({ message, order });
  }
  const done = [];
  const later = [];
  await Promise.all(
    [...customers].map(async ([customer, theirs]) => {
      theirs.sort((a, b) => a.order.sequence - b.order.sequence);
      const end = await locked(customer, async () => {
        for (const { message, order } of theirs) {
          if (!(await commit(order, message.Body))) return false;
          done.push(message);
        }
        return true;
      }).catch((error) => {
        console.error(`${customer}: ${error.message}`);
        return false;
      });
      if (!end) later.push(...theirs.filter(({ message }) => !done.includes(message)));
    }),
  );
  if (later.length > 0) {
    await sqs.send(
      new ChangeMessageVisibilityBatchCommand({
        QueueUrl: QUEUE_URL,
        Entries: later.map(({ message }, index) => ({
          Id: String(index),
          ReceiptHandle: message.ReceiptHandle,
          VisibilityTimeout: AGAIN_SECONDS,
        })),
      }),
    );
  }
  return done;
}

const consumers = Array.from({ length: CONSUMERS }, () => {
  const consumer = Consumer.create({
    queueUrl: QUEUE_URL,
    sqs,
    batchSize: BATCH,
    visibilityTimeout: 30,
    waitTimeSeconds: 20,
    handleMessageBatch,
  });
  consumer.on('error', (error) => console.error(`sqs-consumer: ${error.message}`));
  return consumer;
});
consumers.forEach((consumer) => consumer.start());
process.on('SIGTERM', () => process.exit(0));
