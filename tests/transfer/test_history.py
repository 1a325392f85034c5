import pytest

from tljax.transfer.history import History, NotFinite, Plan, best_step

PLAN = Plan(batch_size=4, epoch_steps=2, steps=4, lr=0.1, warmup=0)


def measures(loss):
    return {"loss": loss, "accuracy": 0.5, "grad_norm": 1.0}


def make_history(lines=(), **options):
    """A history, and the lines that it has given to `record`."""
    recorded = []
    return History(PLAN, list(lines), record=recorded.append, **options), recorded


def test_a_step_is_recorded_once_the_next_one_has_begun():
    history, recorded = make_history()
    history.step(1, measures(2.0))
    assert recorded == []
    history.step(2, measures(1.0))
    assert [line["step"] for line in recorded] == [1]
    history.flush()
    history.epoch(1, {"val_accuracy": 0.75}, 1.5)
    first, _, epoch = recorded
    assert first == {"step": 1, "lr": pytest.approx(0.1), "loss": 2.0, "accuracy": 0.5, "grad_norm": 1.0}
    assert epoch["train_loss"] == 1.5
    assert (epoch["epoch"], epoch["step"], epoch["val_accuracy"]) == (1, 2, 0.75)
    assert history.lines == recorded


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_step_rate_and_photos(loss):
    history, recorded = make_history(files=[f"{n}.jpg" for n in range(9)])
    history.step(3, measures(loss), [8, 2, 5, 0, 1])
    with pytest.raises(NotFinite) as caught:
        history.flush()
    assert "at step 3 of 4, learning rate 0.05" in str(caught.value)
    assert '"8.jpg", "2.jpg", "5.jpg", "0.jpg" and 1 more' in str(caught.value)
    assert "--lr 0.01" in str(caught.value)
    assert "--resume --skip-nonfinite 1" in str(caught.value)
    (line,) = recorded
    assert line["nonfinite"] == {"loss": str(loss)}
    assert line["files"] == ["8.jpg", "2.jpg", "5.jpg", "0.jpg", "1.jpg"]


def test_steps_that_may_be_passed_over_are_counted_and_have_no_part_in_the_means():
    history, recorded = make_history(skip_nonfinite=1)
    history.step(1, measures(2.0))
    history.step(2, measures(float("nan")))
    history.flush()
    history.epoch(1, {}, 0.0)
    assert (recorded[-1]["train_loss"], recorded[-1]["skipped_steps"]) == (2.0, 1)
    again, _ = make_history(recorded, skip_nonfinite=1)
    again.step(3, measures(float("nan")))
    with pytest.raises(NotFinite, match="--skip-nonfinite 2"):
        again.flush()


def test_the_best_epoch_is_the_earliest_with_the_least_loss():
    history, _ = make_history()
    assert best_step(history.lines) is None
    for number, loss in ((1, 0.5), (2, 0.2), (3, 0.2)):
        history.step(2 * number, measures(1.0))
        history.flush()
        history.epoch(number, {"val_loss": loss}, 0.0)
    assert best_step(history.lines) == 4
    assert best_step(history.lines[:2]) == 2
