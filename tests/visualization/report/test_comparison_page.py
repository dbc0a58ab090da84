"""Pictures of answers on the page of a comparison."""

from __future__ import annotations

from risctl.visualization.report.comparison_page import Answer, ShownSample, _pictures


def test_answers_are_shown_with_their_expression() -> None:
    answers = [Answer(title=name, jpeg=b"abc", width=4, height=3, note="IoU 0.50") for name in ("annotated", "mini")]
    [section] = _pictures([ShownSample(text="<b>cup</b>", image_id=7, answers=answers)], "what to know")
    assert section.count("data:image/jpeg;base64,YWJj") == 2
    assert "<b>cup" not in section and "&lt;b&gt;cup" in section
    assert "image 7" in section and "what to know" in section and section.count("IoU 0.50") == 2
    assert _pictures([], "what to know") == []
