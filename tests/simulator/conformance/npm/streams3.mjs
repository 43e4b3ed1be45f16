// The trading stream of the 3.x line (its data stream dials wss:// alone). Prints {trades: [...], errors}.
import { createRequire } from "node:module";

const Alpaca = createRequire(import.meta.url)("alpaca-3");
const base = process.argv[2];
const alpaca = new Alpaca({ keyId: "key", secretKey: "secret", baseUrl: base, dataBaseUrl: base });
const clock = (body) => fetch(`${base}/sim/clock`, { method: "POST", body: JSON.stringify(body) });
const seen = { trades: [], errors: [] };
const updates = alpaca.trade_ws;
updates.onError((error) => seen.errors.push(error));
updates.onOrderUpdate((update) => seen.trades.push(update));
await new Promise((resolve) => {
  updates.onConnect(resolve);
  updates.connect();
});
await new Promise((resolve) => {
  // This line does not tell its user when it listens; its socket does.
  updates.conn.on("message", (frame) => JSON.parse(frame).stream === "listening" && resolve());
  updates.subscribe(["trade_updates"]);
});
await alpaca.createOrder({
  symbol: "AAPL", qty: 3, side: "buy", type: "market", time_in_force: "day", client_order_id: "streamed",
});
await clock({ advance_seconds: 60 });
for (let tries = 0; !seen.trades.some((update) => update.event === "fill"); tries += 1) {
  if (tries > 500) throw new Error("never seen: a fill");
  await new Promise((resolve) => setTimeout(resolve, 20));
}
updates.disconnect();
process.stdout.write(JSON.stringify(seen), () => process.exit(0));
