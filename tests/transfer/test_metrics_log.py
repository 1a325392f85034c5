from tljax.transfer.metrics_log import append, read_log, rewind


def test_rewinding_drops_later_steps_the_summary_and_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append(path, {"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}, {"step": 3}, {"final": {}})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    kept = [{"step": 1}, {"step": 2}, {"epoch": 1, "step": 2}]
    assert rewind(path, 2) == kept
    assert read_log(path) == kept
    assert rewind(path, 0) == []
    assert path.read_text() == ""
