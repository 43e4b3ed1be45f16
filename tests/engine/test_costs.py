"""Costs and liquidity: tables, and the laws of pieces and draws."""

import math
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import Side
from app.engine.costs import FREE, UNLIMITED, CostModel, Liquidity

ACME = Instrument(symbol="ACME")
B, S = Side.BUY, Side.SELL
probabilities = st.sampled_from([D(0), D("0.1"), D(1)])


def test_commission():
    model = CostModel(commission_bps=D(10), commission_per_share=D("0.01"), minimum_commission=D(1))
    assert model.commission(D(10), D(100)) == D("1.1")
    assert model.commission(D(1), D(10)) == D(1)
    assert FREE.commission(D(10), D(100)) == 0


@pytest.mark.parametrize(
    ("model", "quantity", "volume", "bought"),
    [
        (CostModel(), 10, 100, "100.02"),
        (CostModel(half_spread_bps=D(3)), 10, 100, "100.05"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 100, 100, "101"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 25, 100, "100.5"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 1, 100, "100.1"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 500, 100, "101"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 1, 0, "101"),
        (CostModel(slippage_bps=D(0), impact_bps=D(100)), 1, math.inf, "100"),
        (CostModel(slippage_bps=D(1), half_spread_bps=D(2), impact_bps=D(4)), 25, 100, "100.05"),
    ],
)
def test_what_a_fill_pays(model, quantity, volume, bought):
    assert model.fill_price(D(100), B, ACME, quantity=D(quantity), volume=float(volume)) == D(bought)
    assert model.fill_price(D(100), S, ACME, quantity=D(quantity), volume=float(volume)) == 200 - D(bought)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slippage_bps": D(-1)},
        {"half_spread_bps": D(10_000)},
        {"impact_bps": D("NaN")},
        {"impact_bps": D(5_000), "slippage_bps": D(5_000)},
    ],
)
def test_costs_out_of_range(wrong):
    with pytest.raises(InvalidInput):
        CostModel(**wrong)


def test_a_price_never_falls_below_a_tick():
    assert CostModel(slippage_bps=D(9999)).fill_price(D("0.0001"), S, ACME) == D("0.0001")


@pytest.mark.parametrize(
    "wrong", [{"participation": D(0)}, {"participation": D("1.1")}, {"participation": D("NaN")}, {"partial_probability": D(2)}]
)
def test_liquidity_out_of_range(wrong):
    with pytest.raises(InvalidInput):
        Liquidity(**wrong)


@given(share=st.integers(1, 1000).map(lambda n: D(n) / 1000), quantity=st.integers(1, 10_000).map(D))
def test_the_smallest_volume_is_the_smallest(share, quantity):
    liquidity = Liquidity(participation=share)
    volume = liquidity.volume_for(quantity)
    assert liquidity.taken(quantity, volume, D(1)) == quantity
    assert liquidity.taken(quantity, math.nextafter(volume, 0.0), D(1)) < quantity


@given(
    share=st.sampled_from([D("0.05"), D("0.3"), D(1)]),
    quantity=st.integers(1, 10_000).map(D),
    volumes=st.lists(st.integers(0, 5_000), max_size=8),
)
def test_pieces_never_exceed_their_share_nor_the_whole(share, quantity, volumes):
    liquidity, left = Liquidity(participation=share), quantity
    for volume in volumes:
        part = liquidity.taken(left, float(volume), D(1))
        assert 0 <= part <= volume * share
        assert part == left or part + 1 > volume * share
        left -= part
    assert left >= 0
    assert UNLIMITED.taken(quantity, 0.0, D(1)) == quantity


@given(
    quantity=st.one_of(st.integers(1, 500).map(D), st.sampled_from([D("0.5"), D("1.5"), D("2.25")])),
    key=st.text(max_size=20),
    seed=st.integers(0, 9),
    probability=probabilities,
)
def test_the_first_part_is_a_function_of_seed_and_key(quantity, key, seed, probability):
    one, other = (Liquidity(partial_probability=probability, seed=seed) for _ in range(2))
    part = one.first_part(quantity, key)
    assert part == other.first_part(quantity, key)
    assert part == quantity or (part == int(part) and 1 <= part < quantity)
    if not key or not probability or quantity <= 1:
        assert part == quantity
    elif probability == 1:
        assert part < quantity


def test_about_as_many_orders_are_chosen_as_asked_for():
    tenth = Liquidity(partial_probability=D("0.1"), seed=1)
    parts = [tenth.first_part(D(5), f"order {n}") for n in range(5_000)]
    chosen = [part for part in parts if part < 5]
    assert 430 < len(chosen) < 570
    assert {int(part) for part in chosen} == {1, 2, 3, 4}
    reseeded = Liquidity(partial_probability=D("0.1"), seed=2)
    assert parts != [reseeded.first_part(D(5), f"order {n}") for n in range(5_000)]
