"""Figure 4, right: images whose activations in fc7 are near are alike in meaning, where their pixels are not."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, seeds
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

ARM = BASE.measured("ten_views", "similar")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(ARM, seeds(scale))]


def find(evidence: Evidence) -> Found:
    fc7, pixels = (
        {seed: 100 * value for seed, value in evidence.measure(ARM, "similar", f"{space}_error").items()}
        for space in ("fc7", "pixels")
    )
    queries = max(evidence.measure(ARM, "similar", "queries").values(), default=0)
    main = Comparison(
        "nearest training images of another class",
        "points",
        Side("nearest in fc7", fc7),
        Side("nearest in pixels", pixels),
        images=round(queries),
    )
    panels = {}
    captions = {
        "predictions": "Eight validation images with their class and the five most probable labels; the true one is "
        "red. As figure 4 of the paper, left.",
        "similar": "Left: five validation images. Right of each: the six training images nearest to it in fc7. As "
        "figure 4 of the paper, right.",
    }
    for name, caption in captions.items():
        if (path := evidence.panel(ARM, name)) is not None:
            panels[path] = caption
    return Found(main, panels=panels)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="similar",
    title="Neighbours in fc7 are alike in meaning",
    section="section 6.1, figure 4",
    claim="Images whose activations in the last hidden layer are near in Euclidean distance are semantically alike, "
    "although their pixels are generally not near.",
    paper="figure 4; no number",
    original="",
    differs="Ten classes, fewer images and epochs. Alike in meaning: of the same class. Counted for the nearest "
    "training image of each of 300 validation images.",
    arms=arms,
    find=find,
    draw=draw,
    caption="How often the nearest training image is of another class, by fc7 and by pixels; lines join a seed's.",
)
