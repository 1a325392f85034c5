import pytest

from tljax.transfer.metrics_log import Journal, NotFinite, Plan, append, read_journal

PLAN = Plan(batch_size=4, epoch_steps=2, steps=4, lr=0.1, warmup=0)


def measures(loss):
    return {"loss": loss, "accuracy": 0.5, "grad_norm": 1.0}


def test_a_step_is_written_once_the_next_one_has_begun(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl", PLAN)
    journal.step(1, measures(2.0))
    assert read_journal(tmp_path / "metrics.jsonl") == []
    journal.step(2, measures(1.0))
    assert [line["step"] for line in read_journal(tmp_path / "metrics.jsonl")] == [1]
    journal.flush()
    journal.epoch(1, {"val_accuracy": 0.75}, 1.5)
    first, _, epoch = read_journal(tmp_path / "metrics.jsonl")
    assert first == {"step": 1, "lr": pytest.approx(0.1), "loss": 2.0, "accuracy": 0.5, "grad_norm": 1.0}
    assert epoch["train_loss"] == 1.5
    assert (epoch["epoch"], epoch["step"], epoch["val_accuracy"]) == (1, 2, 0.75)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_step_rate_and_photos(tmp_path, loss):
    journal = Journal(tmp_path / "metrics.jsonl", PLAN, files=[f"{n}.jpg" for n in range(9)])
    journal.step(3, measures(loss), [8, 2, 5, 0, 1])
    with pytest.raises(NotFinite) as caught:
        journal.flush()
    assert "at step 3 of 4, learning rate 0.05" in str(caught.value)
    assert '"8.jpg", "2.jpg", "5.jpg", "0.jpg" and 1 more' in str(caught.value)
    assert "--lr 0.01" in str(caught.value)
    assert "--resume --skip-nonfinite 1" in str(caught.value)
    (line,) = read_journal(tmp_path / "metrics.jsonl")
    assert line["nonfinite"] == {"loss": str(loss)}
    assert line["files"] == ["8.jpg", "2.jpg", "5.jpg", "0.jpg", "1.jpg"]


def test_steps_that_may_be_passed_over_are_counted_and_have_no_part_in_the_means(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, PLAN, skip_nonfinite=1)
    journal.step(1, measures(2.0))
    journal.step(2, measures(float("nan")))
    journal.flush()
    journal.epoch(1, {}, 0.0)
    epoch = read_journal(path)[-1]
    assert (epoch["train_loss"], epoch["skipped_steps"]) == (2.0, 1)
    again = Journal(path, PLAN, skip_nonfinite=1)
    assert again.rewind(2) == 1
    again.step(3, measures(float("nan")))
    with pytest.raises(NotFinite, match="--skip-nonfinite 2"):
        again.flush()


def test_rewinding_drops_later_steps_the_summary_and_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append(path, {"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}, {"step": 3}, {"final": {}})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    journal = Journal(path, PLAN)
    assert journal.rewind(2) == 1
    assert read_journal(path) == [{"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}]
    assert journal.rewind(0) == 0
    assert path.read_text() == ""


def test_the_best_epoch_is_the_earliest_with_the_least_loss(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, PLAN)
    assert journal.best() is None
    for number, loss in ((1, 0.5), (2, 0.2), (3, 0.2)):
        append(path, {"step": 2 * number, "loss": 1.0, "accuracy": 1.0})
        journal.epoch(number, {"val_loss": loss}, 0.0)
    assert journal.best() == 4
    again = Journal(path, PLAN)
    again.rewind(2)
    assert again.best() == 2
