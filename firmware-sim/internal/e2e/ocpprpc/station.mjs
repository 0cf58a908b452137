// A charging station made with the library ocpp-rpc in strict mode: whatever the
// gateway sends that its schemas do not allow is a fault. It shares no code and
// no schema with the gateway.
//
//   node station.mjs --url ws://127.0.0.1:8887/ocpp --id RPC-1 --protocol ocpp2.0.1
//
// It is driven by JSON lines on standard input:
//
//   {"id": 1, "call": "Heartbeat", "params": {}}         send a message
//   {"id": 2, "quit": true}                              close and exit
//
// and tells on standard output, one JSON line each, what it is connected by, what
// it received and answered, what became of its own calls, and every fault.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { RPCClient, createValidator } from 'ocpp-rpc';
import { station16 } from './station16.mjs';
import { station2 } from './station2.mjs';

const { values: flags } = parseArgs({
  options: {
    url: { type: 'string' },
    id: { type: 'string' },
    protocol: { type: 'string' },
    password: { type: 'string' },
    ca: { type: 'string' },
    certificate: { type: 'string' },
    key: { type: 'string' },
  },
});
for (const name of ['url', 'id', 'protocol']) {
  if (!flags[name]) {
    console.error(`station: --${name} is missing`);
    process.exit(2);
  }
}

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// The library has the schemas of 2.1 under other names than it looks for.
const schemas21 = createRequire(import.meta.url)('ocpp-rpc/lib/schemas/ocpp2_1.json').map((schema) => ({
  ...schema,
  $id: schema.$id.replace(/Request$/, '.req').replace(/Response$/, '.conf'),
}));

const client = new RPCClient({
  endpoint: flags.url,
  identity: flags.id,
  password: flags.password ?? null,
  protocols: [flags.protocol],
  strictMode: true,
  strictModeValidators: [createValidator('ocpp2.1', schemas21)],
  callTimeoutMs: 60_000,
  reconnect: true,
  backoff: { initialDelay: 200, maxDelay: 1000, factor: 2, randomisationFactor: 0.2 },
  wsOpts: {
    ca: flags.ca && readFileSync(flags.ca),
    cert: flags.certificate && readFileSync(flags.certificate),
    key: flags.key && readFileSync(flags.key),
  },
});

client.on('open', () => tell({ open: client.protocol }));
client.on('disconnect', ({ code, reason }) => tell({ closed: code, reason: String(reason) }));
client.on('badMessage', ({ error }) => tell({ fault: 'bad message', detail: String(error) }));
client.on('strictValidationFailure', ({ method, outbound, isCall, params, result, error }) =>
  // What this script says wrong is a fault of the script.
  tell({
    fault: outbound ? 'said by the station' : 'said by the gateway',
    method,
    of: isCall ? 'request' : 'response',
    payload: isCall ? params : result,
    detail: error.details ?? String(error),
  }));

const station = flags.protocol === 'ocpp1.6' ? station16(say) : station2(say);

async function say(action, params) {
  try {
    const result = await client.call(action, params);
    tell({ said: action, params, result });
    return result;
  } catch (error) {
    tell({ said: action, params, error: { code: error.rpcErrorCode ?? 'none', message: error.message } });
    return undefined;
  }
}

client.handle(async ({ method, params }) => {
  const [answer, after] = station.obey(method, params);
  tell({ received: method, params, answer });
  if (after) {
    setImmediate(after); // once the answer is on its way
  }
  return answer;
});

createInterface({ input: process.stdin }).on('line', async (line) => {
  const order = JSON.parse(line);
  if (order.call) {
    try {
      tell({ id: order.id, result: await client.call(order.call, order.params) });
    } catch (error) {
      tell({ id: order.id, error: { code: error.rpcErrorCode ?? 'none', message: error.message } });
    }
  } else if (order.quit) {
    await client.close();
    process.exit(0);
  }
}).on('close', () => process.exit(0));

await client.connect();
await station.boot();
tell({ booted: flags.protocol });
