import pytest

from tljax.errors import InputError
from tljax.transfer.journal import Journal, Plan, append, read_journal

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
def test_a_loss_that_is_not_finite_names_step_and_rate(tmp_path, loss):
    journal = Journal(tmp_path / "metrics.jsonl", PLAN)
    journal.step(3, measures(loss))
    with pytest.raises(InputError, match=r"at step 3 of 4, learning rate 0.05: try --lr 0.01"):
        journal.flush()
    assert read_journal(tmp_path / "metrics.jsonl") == []


def test_rewinding_drops_later_steps_the_summary_and_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append(path, {"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}, {"step": 3}, {"final": {}})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    journal = Journal(path, PLAN)
    journal.rewind(2)
    assert read_journal(path) == [{"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}]
    journal.rewind(0)
    assert path.read_text() == ""
