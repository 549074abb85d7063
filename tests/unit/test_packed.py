"""The package as one file of bytecode: made, and taken from while another one is written over it."""

import marshal
import os
import shutil
import types

import pytest
import support

from minictr import packed, unpack


def made(tmp_path, text, at=0):
    """The pack of a package whose module `that` is TEXT."""
    folder = tmp_path / "package"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text("")
    (folder / "that.py").write_text(text)
    shutil.copy(os.path.join(support.CHECKOUT, "minictr", "unpack.py"), str(folder))
    return packed.pack(str(folder), "shown", at)


def taken(file, content, at=0):
    """The finder for the pack CONTENT, which lies in FILE at AT."""
    _, (mark, table) = marshal.loads(content[8:])
    return unpack.Pack(file, "the place", mark, table)


def imported(finder):
    module = types.ModuleType("minictr.that")
    finder.exec_module(module)
    return module.word


@pytest.mark.parametrize("at", [0, 1, 4711])
def test_a_module_comes_out_as_it_went_in_wherever_the_pack_lies(tmp_path, at):
    content = made(tmp_path, "word = 'one'", at)
    with open(str(tmp_path / "file"), "w+b") as file:
        file.write(b"#" * at + content)
        file.flush()
        assert imported(taken(file.fileno(), content, at)) == "one"


@pytest.mark.parametrize("over", ["another version", "half of itself", "nothing"])
def test_what_is_written_over_it_is_not_taken_for_code(tmp_path, over):
    content = made(tmp_path, "word = 'one'")
    other = made(tmp_path, "word = 'two'")
    assert len(other) == len(content)
    with open(str(tmp_path / "file"), "w+b") as file:
        file.write(content)
        file.flush()
        finder = taken(file.fileno(), content)
        file.seek(0)
        if over == "another version":
            file.write(other)
        else:
            file.truncate(len(content) // 2 if over == "half of itself" else 0)
        file.flush()
        with pytest.raises(ImportError, match="^another file has been written over the one in the place$"):
            imported(finder)


def test_the_same_sources_make_the_same_pack(tmp_path):
    assert made(tmp_path, "word = 'one'") == made(tmp_path, "word = 'one'")
