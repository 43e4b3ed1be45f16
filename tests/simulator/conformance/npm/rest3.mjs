// Every REST call of the 3.x line that the exchange serves. Prints {results: {call: {ok, value | error}}, methods: [...]}.
import { createRequire } from "node:module";

const Alpaca = createRequire(import.meta.url)("alpaca-3");
const base = process.argv[2];
const alpaca = new Alpaca({ keyId: "key", secretKey: "secret", baseUrl: base, dataBaseUrl: base });
const results = {};

async function call(name, run) {
  try {
    results[name] = { ok: true, value: await run() };
  } catch (error) {
    results[name] = { ok: false, error: String(error.message), status: error.response?.status, body: error.response?.data };
  }
  return results[name].value;
}
const clock = (body) =>
  fetch(`${base}/sim/clock`, { method: "POST", body: JSON.stringify(body) }).then((answer) => answer.json());
async function all(pages) {
  const rows = [];
  for await (const row of pages) rows.push(row);
  return rows;
}
const listed = (map) => Object.fromEntries(map);

await clock({ advance_seconds: 3600 });
const price = (await call("getLatestTrade", () => alpaca.getLatestTrade("AAPL"))).Price;
const at = (factor) => (price * factor).toFixed(2);
const day = { symbol: "AAPL", qty: 2, side: "buy", type: "market", time_in_force: "day" };

await call("getAccount", () => alpaca.getAccount());
await call("getAccountConfigurations", () => alpaca.getAccountConfigurations());
await call("updateAccountConfigurations", () => alpaca.updateAccountConfigurations({ suspend_trade: false }));
await call("getAssets", () => alpaca.getAssets({ status: "active" }));
await call("getAsset", () => alpaca.getAsset("AAPL"));
await call("getClock", () => alpaca.getClock());
await call("getCalendar", () => alpaca.getCalendar({ start: "2024-01-02", end: "2024-01-09" }));
await call("createOrder", () => alpaca.createOrder({ ...day, client_order_id: "first" }));
await clock({ advance_seconds: 60 });
const limit = { ...day, type: "limit", limit_price: at(0.8) };
const resting = await call("createOrder limit", () => alpaca.createOrder(limit));
await call("createOrder bracket", () =>
  alpaca.createOrder({
    ...day,
    order_class: "bracket",
    take_profit: { limit_price: at(1.5) },
    stop_loss: { stop_price: at(0.5) },
  }));
await call("getOrders", () => alpaca.getOrders({ status: "all", nested: true, limit: 10 }));
await call("getOrder", () => alpaca.getOrder(resting.id));
await call("getOrderByClientId", () => alpaca.getOrderByClientId("first"));
await call("replaceOrder", () => alpaca.replaceOrder(resting.id, { limit_price: at(0.79) }));
const other = await call("createOrder again", () => alpaca.createOrder(limit));
await call("cancelOrder", () => alpaca.cancelOrder(other.id));
await call("cancelAllOrders", () => alpaca.cancelAllOrders());
await call("refused", () => alpaca.createOrder({ ...day, qty: 100000000 }));
await call("getPositions", () => alpaca.getPositions());
await call("getPosition", () => alpaca.getPosition("AAPL"));
await call("closePosition", () => alpaca.closePosition("AAPL"));
await clock({ advance_seconds: 60 });
await call("closeAllPositions", () => alpaca.closeAllPositions());
await call("getAccountActivities", () => alpaca.getAccountActivities({ activityTypes: ["FILL", "DIV"], pageSize: 10 }));
await call("getPortfolioHistory", () => alpaca.getPortfolioHistory({ period: "1D", timeframe: "5Min" }));

const both = ["AAPL", "MSFT"];
const span = () => ({ start: "2024-01-02T14:30:00Z", end: "2024-01-02T15:00:00Z", limit: 30 });
await call("getBarsV2", () => all(alpaca.getBarsV2("AAPL", { ...span(), timeframe: "1Min" })));
await call("getMultiBarsV2", async () => listed(await alpaca.getMultiBarsV2(both, { ...span(), timeframe: "1Min" })));
await call("getMultiBarsAsyncV2", () => all(alpaca.getMultiBarsAsyncV2(both, { ...span(), timeframe: "1Min" })));
for (const kind of ["Trades", "Quotes"]) {
  await call(`get${kind}V2`, () => all(alpaca[`get${kind}V2`]("AAPL", span())));
  await call(`getMulti${kind}V2`, async () => listed(await alpaca[`getMulti${kind}V2`](both, span())));
  await call(`getMulti${kind}AsyncV2`, () => all(alpaca[`getMulti${kind}AsyncV2`](both, span())));
}
await call("getLatestTrades", async () => listed(await alpaca.getLatestTrades(both)));
for (const kind of ["Quote", "Bar"]) {
  await call(`getLatest${kind}`, () => alpaca[`getLatest${kind}`]("AAPL"));
  await call(`getLatest${kind}s`, async () => listed(await alpaca[`getLatest${kind}s`](both)));
}
await call("getSnapshot", () => alpaca.getSnapshot("AAPL"));
await call("getSnapshots", () => alpaca.getSnapshots(both));
await clock({ next_open: true });
await clock({ next_open: true });
await call("getNews", () => alpaca.getNews({ totalLimit: 10 }));

const own = Object.keys(alpaca).filter((name) => typeof alpaca[name] === "function");
const methods = [...own, ...Object.getOwnPropertyNames(Object.getPrototypeOf(alpaca))].filter((name) => name !== "constructor");
// The client leaves timers running, which would keep the process for half a minute.
process.stdout.write(JSON.stringify({ results, methods }), () => process.exit(0));
