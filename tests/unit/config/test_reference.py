from pathlib import Path

from hvd_imgcls.config.reading import walk
from hvd_imgcls.config.reference import reference
from hvd_imgcls.config.schema import RunConfig

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def keys_below(prefix, section):
    for name, annotation in walk.field_types(section).items():
        element = walk.element_of(annotation)
        below = walk.sections_of(element or annotation)
        place = f"{prefix}{name}" + (".N" if walk.sections_of(element) else "")
        if not below:
            yield place
        for one in below:
            yield from keys_below(f"{place}.", one)


def test_reference_in_docs_is_that_of_the_schema():
    assert DOCUMENT.read_text(encoding="utf-8") == reference()


def test_reference_holds_every_key_with_its_meaning():
    keys = set(keys_below("", RunConfig))
    rows = {
        cells[1].strip(" `"): cells[4]
        for cells in (line.split("|") for line in reference().splitlines())
        if len(cells) > 4
    }
    assert len(keys) > 25
    assert {key for key in keys if len(rows.get(key, "")) < 15} == set()
