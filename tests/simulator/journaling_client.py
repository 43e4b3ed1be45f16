"""A client process that trades without end and writes down what it means to do before, and what it was answered after.

Usage: journaling_client.py URL KEY_ID NAME JOURNAL. One JSON object a line: {"intent": {...}} then {"answer": {...}}. When an
answer does not come it does what a careful client does: look the order up by its own id, and send it again with the same id
only if it is not there.
"""

import json
import random
import sys
import time
from pathlib import Path

import requests

URL, KEY_ID, NAME, JOURNAL = sys.argv[1:5]
HEADERS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": "secret"}
draws = random.Random(NAME)
session = requests.Session()
session.headers.update(HEADERS)
working = []  # ids of orders that may still be open


def note(**line):
    with Path(JOURNAL).open("a") as journal:
        journal.write(json.dumps(line) + "\n")


def call(method, path, body=None):
    """The answer, or None when there was none; then the exchange is back."""
    try:
        return session.request(method, URL + path, json=body, timeout=30)
    except requests.RequestException:
        while True:
            try:
                requests.get(URL + "/sim/state", timeout=5)
                return None
            except requests.RequestException:
                time.sleep(0.02)


def settled(order):
    """Send an order until it is known to be there. Its last answer."""
    while True:
        answer = call("POST", "/v2/orders", order)
        if answer is not None:
            return answer
        while (found := call("GET", f"/v2/orders:by_client_order_id?client_order_id={order['client_order_id']}")) is None:
            pass
        if found.status_code == 200:
            return found


def submit(number):
    order = {
        "symbol": draws.choice(["ACME", "BCME", "CCME"]),
        "side": "buy",
        "qty": draws.randint(1, 9),
        "client_order_id": f"{NAME}-{number}",
        **draws.choice(
            [
                {"type": "market", "time_in_force": "day"},
                {"type": "limit", "limit_price": "2.5", "time_in_force": "gtc"},
                {
                    "type": "market",
                    "time_in_force": "gtc",
                    "order_class": "bracket",
                    "take_profit": {"limit_price": "90000"},
                    "stop_loss": {"stop_price": "0.05"},
                },
            ]
        ),
    }
    note(intent={"do": "submit", **order})
    answer = settled(order)
    note(
        answer={
            "to": "submit",
            "client_order_id": order["client_order_id"],
            "status": answer.status_code,
            "body": answer.json(),
        }
    )
    if answer.status_code == 200:
        working.append(answer.json()["id"])


def cancel():
    order_id = working.pop(draws.randrange(len(working)))
    note(intent={"do": "cancel", "id": order_id})
    answer = call("DELETE", f"/v2/orders/{order_id}")
    if answer is not None:
        note(answer={"to": "cancel", "id": order_id, "status": answer.status_code})


def replace(number):
    place = draws.randrange(len(working))
    order_id, client_order_id = working[place], f"{NAME}-{number}"
    note(intent={"do": "replace", "id": order_id, "client_order_id": client_order_id})
    answer = call("PATCH", f"/v2/orders/{order_id}", {"qty": str(draws.randint(1, 9)), "client_order_id": client_order_id})
    if answer is None:
        working.pop(place)
    elif answer.status_code == 200:
        working[place] = answer.json()["id"]
        note(answer={"to": "replace", "id": order_id, "status": 200, "body": answer.json()})


def main():
    number = 0
    while True:
        number += 1
        chance = draws.random()
        if chance < 0.6 or not working:
            submit(number)
        elif chance < 0.8:
            cancel()
        else:
            replace(number)
        if NAME == "a" and number % 10 == 0:
            call("POST", "/sim/clock", {"advance_seconds": 60})


main()
