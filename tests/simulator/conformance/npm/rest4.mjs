// Every REST call of the 4.x line that the exchange serves. Prints {results: {call: {ok, value | error}}, methods: [...]}.
import { Alpaca } from "alpaca-4";

const base = process.argv[2];
const alpaca = new Alpaca({
  keyId: "key",
  secret: "secret",
  retry: false,
  rateLimit: false,
  fetchApi: (url, init) => fetch(base + new URL(url).pathname + new URL(url).search, init),
});
const { trading, marketData } = alpaca;
const results = {};

async function call(name, run) {
  try {
    results[name] = { ok: true, value: await run() };
  } catch (error) {
    results[name] = { ok: false, error: String(error.message ?? error), status: error.status, code: error.code };
  }
  return results[name].value;
}
const clock = (body) =>
  fetch(`${base}/sim/clock`, { method: "POST", body: JSON.stringify(body) }).then((answer) => answer.json());

await clock({ advance_seconds: 3600 });
const price = await call("getLatestPrice", () => marketData.getLatestPrice("AAPL"));
const at = (factor) => (price * factor).toFixed(2);
const day = { symbol: "AAPL", qty: 2, side: "buy" };

await call("getAccount", () => trading.account.getAccount());
await call("validateConnection", () => trading.validateConnection());
await call("getAccountConfig", () => trading.accountConfigurations.getAccountConfig());
await call("patchAccountConfig", () =>
  trading.accountConfigurations.patchAccountConfig({ accountConfigurations: { noShorting: false } }));
await call("getV2Assets", () => trading.assets.getV2Assets({ status: "active" }));
await call("getV2AssetsSymbolOrAssetId", () => trading.assets.getV2AssetsSymbolOrAssetId({ symbolOrAssetId: "AAPL" }));
await call("legacyClock", () => trading.clock.legacyClock());
await call("clock", () => trading.clock.clock({ markets: "NYSE" }));
await call("legacyCalendar", () =>
  trading.calendar.legacyCalendar({ start: new Date("2024-01-02"), end: new Date("2024-01-09") }));
await call("calendar", () => trading.calendar.calendar({ market: "NYSE" }));

const bought = await call("market", () => trading.orders.market({ ...day, qty: 10, clientOrderId: "first" }));
await clock({ advance_seconds: 60 });
const resting = await call("limit", () => trading.orders.limit({ ...day, limitPrice: at(0.8) }));
await call("stop", () => trading.orders.stop({ ...day, stopPrice: at(1.2) }));
await call("stopLimit", () => trading.orders.stopLimit({ ...day, stopPrice: at(1.2), limitPrice: at(1.21) }));
await call("bracket", () =>
  trading.orders.bracket({
    ...day,
    type: "limit",
    limitPrice: at(1.02),
    takeProfit: { limitPrice: at(1.5) },
    stopLoss: { stopPrice: at(0.5) },
  }));
await call("getAllOrders", () => trading.orders.getAllOrders({ status: "all", nested: true, symbols: "AAPL", limit: 20 }));
await call("getOrderByOrderID", () => trading.orders.getOrderByOrderID({ orderId: resting.id, nested: true }));
await call("getOrderByClientOrderId", () => trading.orders.getOrderByClientOrderId({ clientOrderId: "first" }));
await call("patchOrderByOrderId", () =>
  trading.orders.patchOrderByOrderId({ orderId: resting.id, patchOrderRequest: { limitPrice: at(0.79) } }));
await call("deleteAllOrders", () => trading.orders.deleteAllOrders());
await clock({ advance_seconds: 60 });
await call("oto", () => trading.orders.oto({ ...day, type: "market", stopLoss: { stopPrice: at(0.5) } }));
await call("deleteAllOrders again", () => trading.orders.deleteAllOrders());
await call("oco", () =>
  trading.orders.oco({
    ...day,
    side: "sell",
    takeProfit: { limitPrice: at(1.5) },
    stopLoss: { stopPrice: at(0.5) },
  }));
await call("deleteAllOrders once more", () => trading.orders.deleteAllOrders());
await call("trailingStop", () => trading.orders.trailingStop({ ...day, side: "sell", trailPercent: 3 }));
await call("deleteAllOrders at last", () => trading.orders.deleteAllOrders());
const last = await call("submit", () => trading.orders.submit({ ...day, type: "limit", limitPrice: at(0.5) }));
await call("deleteOrderByOrderID", () => trading.orders.deleteOrderByOrderID({ orderId: last.id }));
await call("refused", () => trading.orders.market({ ...day, qty: 100000000 }));
await call("getAllOpenPositions", () => trading.positions.getAllOpenPositions());
await call("getOpenPosition", () => trading.positions.getOpenPosition({ symbolOrAssetId: "AAPL" }));
await call("deleteOpenPosition", () => trading.positions.deleteOpenPosition({ symbolOrAssetId: "AAPL", percentage: 50 }));
await call("closeAllPositions", () => trading.closeAllPositions({ cancelOrders: true }));
await clock({ advance_seconds: 60 });
await call("deleteAllOpenPositions", () => trading.positions.deleteAllOpenPositions());
await call("getAccountActivities", () => trading.accountActivities.getAccountActivities());
await call("getAccountActivitiesByActivityType", () =>
  trading.accountActivities.getAccountActivitiesByActivityType({ activityType: "FILL", pageSize: 5 }));
await call("getAccountPortfolioHistory", () =>
  trading.portfolioHistory.getAccountPortfolioHistory({ period: "1D", timeframe: "5Min" }));

const symbols = "AAPL,MSFT";
const span = { start: new Date("2024-01-02T14:30:00Z"), end: new Date("2024-01-02T15:00:00Z") };
const { stocks } = marketData;
await call("stockBars", () => stocks.stockBars({ symbols, timeframe: "1Min", ...span }));
await call("stockBarSingle", () => stocks.stockBarSingle({ symbol: "AAPL", timeframe: "5Min", ...span }));
await call("stockTrades", () => stocks.stockTrades({ symbols, ...span }));
await call("stockTradeSingle", () => stocks.stockTradeSingle({ symbol: "AAPL", ...span }));
await call("stockQuotes", () => stocks.stockQuotes({ symbols, ...span }));
await call("stockQuoteSingle", () => stocks.stockQuoteSingle({ symbol: "AAPL", ...span }));
for (const kind of ["Bar", "Trade", "Quote"]) {
  await call(`stockLatest${kind}s`, () => stocks[`stockLatest${kind}s`]({ symbols }));
  await call(`stockLatest${kind}Single`, () => stocks[`stockLatest${kind}Single`]({ symbol: "AAPL" }));
}
await call("stockSnapshots", () => stocks.stockSnapshots({ symbols }));
await call("stockSnapshotSingle", () => stocks.stockSnapshotSingle({ symbol: "AAPL" }));
await call("stockMetaExchanges", () => stocks.stockMetaExchanges());
await call("stockMetaConditions", () => stocks.stockMetaConditions({ ticktype: "trade", tape: "A" }));
await call("getStockBars", () => marketData.getStockBars({ symbols, timeframe: "1Min", ...span }));
await call("getStockCandles", () => marketData.getStockCandles({ symbols, timeframe: "1Day", start: new Date("2023-06-01") }));
await clock({ next_open: true });
await clock({ next_open: true });
await call("news", () => marketData.news.news({ limit: 10 }));

const groups = [
  trading.account, trading.accountActivities, trading.accountConfigurations, trading.assets, trading.calendar, trading.clock,
  trading.orders, trading.portfolioHistory, trading.positions, marketData.stocks, marketData.news,
];
const methods = groups.flatMap((group) => {
  const names = new Set();
  for (let one = Object.getPrototypeOf(group); !Object.hasOwn(one, "withMiddleware"); one = Object.getPrototypeOf(one)) {
    Object.getOwnPropertyNames(one).forEach((name) => names.add(name));
  }
  return [...names].filter((name) => name !== "constructor" && !/Raw$|RequestOpts$/.test(name));
});
// The client leaves timers running, which would keep the process for half a minute.
process.stdout.write(JSON.stringify({ results, methods }), () => process.exit(0));
