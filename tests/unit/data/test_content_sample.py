"""Images with other pixels under the same names are noticed."""

import os

from hvd_imgcls.data.sources.content_sample import NUM_SAMPLED, sample_of_files


def test_a_changed_byte_in_a_sampled_file_changes_it_and_the_place_does_not(tmp_path):
    paths = {}
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths[place] = [tmp_path / place / f"{number}.jpg" for number in range(200)]
        for number, path in enumerate(paths[place]):
            path.write_bytes(bytes([number]) * 100)
    assert sample_of_files(paths["a"]) == sample_of_files(paths["b"])
    paths["b"][199].write_bytes(bytes([199]) * 99 + b"x")
    assert sample_of_files(paths["a"]) != sample_of_files(paths["b"])
    # All files count if they are few.
    few = paths["a"][:NUM_SAMPLED]
    before = sample_of_files(few)
    few[17].write_bytes(b"other")
    assert sample_of_files(few) != before


def test_files_that_cannot_be_read_do_not_end_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    paths = [tmp_path / "absent", tmp_path / "pipe", tmp_path]
    assert sample_of_files(paths) == sample_of_files(paths)
    assert sample_of_files([]) == sample_of_files([])
