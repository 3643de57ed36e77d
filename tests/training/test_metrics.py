"""Errors with ties, and the log of a run."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from alexnet.training.metrics import MetricsLog, interval, read_lines, top_k_credit, with_interval


@pytest.mark.parametrize("k", [1, 5])
def test_without_ties_it_is_top_k_accuracy(k):
    scores = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 12
    theirs = top_k_accuracy_score(labels.numpy(), scores.numpy(), k=k)
    assert top_k_credit(scores, labels, k).mean().item() == pytest.approx(theirs)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_ties_earn_what_a_random_order_would(k):
    """The credit is the chance to be among the first k when ties are broken at random."""
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (40, 8))
    labels = random.integers(0, 8, 40)
    hits = np.zeros(40)
    for _ in range(4000):
        order = np.lexsort((random.random(scores.shape), -scores), axis=1)
        hits += (order[:, :k] == labels[:, None]).any(1)
    credit = top_k_credit(torch.from_numpy(scores).float(), torch.from_numpy(labels), k)
    np.testing.assert_allclose(credit, hits / 4000, atol=0.04)


def test_a_constant_output_scores_chance():
    credit = [top_k_credit(torch.zeros(6, 10), torch.arange(6), k) for k in (1, 5)]
    assert credit[0].tolist() == [0.1] * 6 and credit[1].tolist() == [0.5] * 6


def test_a_broken_output_earns_nothing():
    scores = torch.tensor([[1.0, float("nan"), 0.0], [float("nan")] * 3])
    assert not top_k_credit(scores, torch.tensor([0, 1]), 5).any()


EVALUATION = {"evaluation": "val", "top1_error": 0.5, "top5_error": 0.25, "loss": 1.5}


def test_a_resumed_log_drops_the_lines_of_steps_that_will_be_done_again(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.write(step, step / 2, {"loss": 1 / step, "learning_rate": 0.1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # cut off by a crash
    with MetricsLog(tmp_path, 3) as log:
        log.write(4, 2, EVALUATION)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1] == {"step": 4, "epoch": 2} | EVALUATION
    assert all(json.dumps(line) for line in lines)
    assert list((tmp_path / "tensorboard").iterdir())


def test_warnings_are_printed_and_kept(tmp_path, capsys):
    with MetricsLog(tmp_path, 0) as log:
        for sentence in ("it burns", None):
            log.warn(sentence)
    assert log.warnings == ["it burns"] and capsys.readouterr().err == "warning: it burns\n"


def test_a_silent_log_leaves_no_trace(tmp_path, capsys):
    with MetricsLog(tmp_path, 0, silent=True) as log:
        log.write(1, 1, {"loss": 1.0})
        log.warn("it burns")
        log.flush()
    assert not list(tmp_path.iterdir()) and capsys.readouterr().err == "" and log.warnings == []


STEP = '{"step": %s, "epoch": 1.5, "loss": 2.0, "learning_rate": 0.1}'
DAMAGES = [
    *(b"\xff\xfe", b"{", b"[1, 2]", b"7", b'{"step": 3}'),
    (STEP % '"four"').encode(),
    (STEP % 3).replace("2.0", '"low"').encode(),
    (STEP % 3).replace("1.5", "null").encode(),
    b'{"step": 3, "epoch": 1.5, "evaluation": "val", "loss": 2.0, "top1_error": "none", "top5_error": 0.1}',
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path, capsys, damage):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"".join((STEP % step).encode() + b"\n" if step != 3 else damage + b"\n" for step in range(1, 6)))
    assert [line["step"] for line in read_lines(file)] == [1, 2, 4, 5]
    assert capsys.readouterr().err == f"warning: {file}, line 3, cannot be read and is left out.\n"


@pytest.mark.parametrize(
    ("wrong", "images", "low", "high"),  # statsmodels.stats.proportion.proportion_confint(..., method="wilson")
    [(342, 1966, 0.157841, 0.191345), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (1, 3, 0.061492, 0.792345)],
)
def test_intervals_are_wilsons(wrong, images, low, high):
    assert interval(wrong / images, images) == pytest.approx((low, high), abs=1e-5)


def test_an_error_is_written_with_its_interval():
    assert with_interval(0.174, 1966) == "17.4 % (15.8 to 19.1)"
