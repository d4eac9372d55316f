"""The dashboard Quality: how far the answers can be trusted, and whether that changes."""

from etl.dashboards.colours import ANSWERS, CLASSIFIERS, GREY, category_colours
from etl.dashboards.layout import CLASSIFICATIONS, PRESENT, RUNS, RUNS_BY_TASK, Outline
from etl.dashboards.parts import (
    MOST_CATEGORIES,
    Json,
    aggregation,
    by_category,
    by_queries,
    by_terms,
    by_time,
    chart_state,
    count,
    figures_params,
    markdown,
    metrics,
    saved_search,
    table_params,
    visualization,
)
from etl.dashboards.saved_objects import SavedObject

_HEADER = """### How good are the answers?
**Agreement** is what people said of the answers that they looked at: they review some (`issuetide review`) and correct
others (`issuetide override`). **Looked at** counts these by week, and how many people set otherwise: shares of few
answers prove little. **Audits** ask Claude what a trained model has answered or a text would have inherited, to see
whether it says the same. **Stated** confidence is the classifier's own number, **calibrated** what such numbers proved
to be worth (`issuetide evaluate --calibrate`). **Drift** is a category's share that changes from week to week while
nobody changed the task. Back to [Trends](#/view/issuetide-trends), [Cost and health](#/view/issuetide-cost).

**Nothing looked at?** `issuetide review` writes a sheet of answers to judge, and reads it. **No audits?** They are part
of the cascade and of inheriting. **Both lines of confidence are one?** Nothing was calibrated. **"No results found"?**
Widen the time range, or choose another task; `issuetide classify` asks what waits."""

OUTLINE = Outline(
    "issuetide-quality",
    "Issuetide: quality of answers",
    "Agreement with people, abstention, confidence, drift, and who answered.",
    "now-1y",
    (
        ("issuetide-quality-header", 0, 0, 28, 11),
        ("issuetide-controls", 28, 0, 20, 11),
        ("issuetide-quality-figures", 0, 11, 48, 6),
        ("issuetide-agreement", 0, 17, 16, 13),
        ("issuetide-looked-at", 16, 17, 16, 13),
        ("issuetide-corrections", 32, 17, 16, 13),
        ("issuetide-abstention", 0, 30, 24, 13),
        ("issuetide-drift", 24, 30, 24, 13),
        ("issuetide-confidence-bands", 0, 43, 24, 13),
        ("issuetide-calibration", 24, 43, 24, 13),
        ("issuetide-who-answered", 0, 56, 16, 13),
        ("issuetide-audits", 16, 56, 16, 13),
        ("issuetide-abstention-repositories", 32, 56, 16, 13),
        ("issuetide-versions", 0, 69, 48, 12),
        ("issuetide-newest-answers", 0, 81, 48, 16),
    ),
)

_VERDICTS = {
    "a person agreed": "agreed:true",
    "a person disagreed": "agreed:false",
    "a person answered instead": "reviewed:true AND NOT _exists_:agreed",
}
_VERDICT_COLOURS = {
    "a person agreed": "#009e73",
    "a person disagreed": "#d55e00",
    "a person answered instead": "#e69f00",
}
_LOOKED_AT = {
    "left as it was": "reviewed:true AND NOT overridden:true",
    "set by a person": "overridden:true",
}
_LOOKED_AT_COLOURS = {"left as it was": "#0072b2", "set by a person": "#e69f00"}
_BANDS = {
    "low (below 50 %)": "confidence:<0.5",
    "medium": "confidence:[0.5 TO 0.8}",
    "high (80 % and more)": "confidence:>=0.8",
}
_BAND_COLOURS = {"low (below 50 %)": "#d55e00", "medium": "#e69f00", "high (80 % and more)": "#009e73"}


def panels() -> list[SavedObject]:
    """The panels but for the controls, which dashboards share."""
    return [
        markdown("issuetide-quality-header", "How to read this", _HEADER),
        _figures(),
        *_people(),
        *_over_time(),
        *_confidence(),
        *_classifiers(),
        saved_search(
            "issuetide-newest-answers",
            "Newest answers, and what people said of them",
            CLASSIFICATIONS,
            f"_exists_:classified_at AND {PRESENT}",
            (
                "classified_at",
                "url",
                "title",
                "primary_category",
                "category_given",
                "agreed",
                "confidence",
                "classifier",
                "rationale",
            ),
            "classified_at",
        ),
    ]


def _shares(identifier: str, title: str, time: Json, parts: Json, colours: dict[str, str], query: str) -> SavedObject:
    """Bars of one height that show the shares of their parts."""
    state = chart_state("histogram", [count()], [time, parts], "Share of issues", shares=True)
    return visualization(identifier, title, state, CLASSIFICATIONS, query, colours=colours)


def _figures() -> SavedObject:
    queries = {
        "answered": "answer:answered",
        "abstained": "answer:abstained",
        "refused": "answer:refused",
        "confidence below 50 %": "confidence:<0.5",
        "seen by a person": "reviewed:true",
        "of these, agreed": "agreed:true",
        "set by a person": "overridden:true",
        "calibrated": "calibrated:true",
    }
    state = {
        "type": "metric",
        "aggs": [count("issues"), by_queries(queries, "group", identifier="2")],
        "params": figures_params(26),
    }
    return visualization("issuetide-quality-figures", "Answers in figures", state, CLASSIFICATIONS, PRESENT)


def _people() -> list[SavedObject]:
    """What people said: shares of the answers that they looked at, and beside them how many these are.

    Documents have no date of a review, so it shows in the week of the answer that was reviewed, as a sheet of
    `issuetide review` has it. Where a person has set the answer, `classified_at` is the date of that.
    """
    table = {
        "type": "table",
        "aggs": [
            count(),
            by_terms(
                "category_given",
                "bucket",
                "Classifier said",
                # By name downwards: what nobody looked at, nearly everything, comes last.
                order_by="_key",
                ascending=False,
                identifier="2",
                missing="(no person looked)",
            ),
            by_terms("primary_category", "bucket", "Stands as", size=MOST_CATEGORIES),
        ],
        "params": table_params(),
    }
    return [
        _shares(
            "issuetide-agreement",
            "Agreement with people, by when it was classified",
            by_time("classified_at"),
            by_queries(_VERDICTS, "group"),
            _VERDICT_COLOURS,
            f"_exists_:classified_at AND reviewed:true AND {PRESENT}",
        ),
        visualization(
            "issuetide-looked-at",
            "Looked at by people, by week of the answer",
            chart_state(
                "histogram",
                [count("Answers")],
                [by_time("classified_at", "w"), by_queries(_LOOKED_AT, "group")],
                "Answers",
            ),
            CLASSIFICATIONS,
            f"_exists_:classified_at AND reviewed:true AND {PRESENT}",
            colours=_LOOKED_AT_COLOURS,
        ),
        visualization(
            "issuetide-corrections",
            "What people made of answers",
            table,
            CLASSIFICATIONS,
            PRESENT,
        ),
    ]


def _audits() -> SavedObject:
    """What classifiers said of each other, by the run that asked the second one."""
    said = {"1": ("checks_agreed", "said the same"), "3": ("checks_differed", "said something else")}
    state = chart_state("histogram", metrics("sum", said), [by_time("started_at", "w")], "Audits")
    colours = {"said the same": "#009e73", "said something else": "#d55e00"}
    return visualization("issuetide-audits", "Agreement of audits, by week", state, RUNS, RUNS_BY_TASK, colours=colours)


def _over_time() -> list[SavedObject]:
    return [
        _shares(
            "issuetide-abstention",
            "Abstention, by week opened",
            by_time("created_at", "w"),
            by_terms("answer", "group", "Answer", order_by="_key"),
            ANSWERS,
            PRESENT,
        ),
        _shares(
            "issuetide-drift",
            "Drift: share of each category, by week opened",
            by_time("created_at", "w"),
            by_category(),
            category_colours(),
            f"answer:answered AND {PRESENT}",
        ),
    ]


def _confidence() -> list[SavedObject]:
    labels = {"1": "As used (calibrated where measured)", "3": "As stated"}
    fields = {"1": ("confidence", labels["1"]), "3": ("confidence_given", labels["3"])}
    return [
        _shares(
            "issuetide-confidence-bands",
            "Low, medium and high confidence, by week opened",
            by_time("created_at", "w"),
            by_queries(_BANDS, "group"),
            _BAND_COLOURS,
            f"_exists_:confidence AND {PRESENT}",
        ),
        visualization(
            "issuetide-calibration",
            "Confidence, stated and as used",
            chart_state(
                "line", metrics("avg", fields), [by_time("created_at", "w")], "Average confidence", stacked=False
            ),
            CLASSIFICATIONS,
            f"_exists_:confidence AND {PRESENT}",
            colours={labels["1"]: "#0072b2", labels["3"]: GREY},
        ),
    ]


def _classifiers() -> list[SavedObject]:
    none = "(none)"
    return [
        _audits(),
        visualization(
            "issuetide-who-answered",
            "Who answered, by week opened",
            chart_state(
                "histogram",
                [count()],
                [
                    by_time("created_at", "w"),
                    by_terms("classifier", "group", "Classifier", order_by="_key", missing="(nobody yet)"),
                ],
                "Issues",
            ),
            CLASSIFICATIONS,
            PRESENT,
            colours=CLASSIFIERS,
        ),
        visualization(
            "issuetide-abstention-repositories",
            "Answers per repository",
            chart_state(
                "horizontal_bar",
                [count()],
                [
                    by_terms("repository", "segment", "Repository", size=15, identifier="2"),
                    by_terms("answer", "group", "Answer", order_by="_key"),
                ],
                "Issues",
            ),
            CLASSIFICATIONS,
            PRESENT,
            colours=ANSWERS,
        ),
        visualization(
            "issuetide-versions",
            "By classifier, model, prompt and version of the task",
            {
                "type": "table",
                "aggs": [
                    count(),
                    aggregation("3", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    aggregation("4", "max", "metric", field="classified_at", customLabel="Newest answer"),
                    by_terms("classifier", "bucket", "Classifier", identifier="2", missing="(nobody yet)"),
                    by_terms("model", "bucket", "Model", identifier="5", missing=none),
                    by_terms("prompt_version", "bucket", "Prompt", identifier="6", missing=none),
                    by_terms("task_version", "bucket", "Version of the task", identifier="7"),
                ],
                "params": table_params(),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
    ]
