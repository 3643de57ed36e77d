"""The popular summary: "a top-1 error rate of 36.7 %, the correct label was the top prediction 62.5 % of the time"."""

from matplotlib.figure import Figure

from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, images_of
from alexnet.reproduce.experiments import ensemble
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return ensemble.arms(scale, evidence)


def find(evidence: Evidence) -> Found:
    _, seven = ensemble.groups(evidence)
    main = Comparison(
        "top-1 error, ten views",
        "points",
        Side(f"{len(seven)} networks", ensemble.against_members(evidence, seven)),
        Side("one network", evidence.error(ensemble.MEMBER)),
        images=images_of(evidence, ensemble.MEMBER),
    )
    notes = [
        "An error of 36.7 % means that 63.3 % of the labels are right, not 62.5 %. 36.7 % are seven networks on "
        "ILSVRC-2012; 62.5 % right, an error of 37.5 %, is one network on ILSVRC-2010.",
        "The verdict is about what this needs: that seven networks err less often than one.",
    ]
    return Found(main, (), {"error": 36.7, "accuracy_of_it": 63.3, "accuracy_quoted": 62.5}, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="summary",
    title="62.5 % and 36.7 % are not of the same network",
    section="popular summaries",
    claim='"A top-1 error rate of 36.7 %, meaning that the correct label was the top prediction 62.5 % of the time" '
    "mixes seven networks with one.",
    paper="one network, ILSVRC-2010: 37.5 %; seven networks, ILSVRC-2012: 36.7 %",
    original="37.473 for one network (ILSVRC-2010); 40.664 for one network (ILSVRC-2012)",
    differs="See the ensemble.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Error of each single network, and of seven averaged.",
)
