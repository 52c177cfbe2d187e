from puna.curate.rules.encoding import damaged_share


def test_damaged_share() -> None:
    text = "El niño comió más jamón que ayer, “dijo” la señora — y se fue."
    assert damaged_share(text) == 0.0
    for wrong in ("latin-1", "cp1252"):
        misread = text.replace("”", "").encode().decode(wrong)
        assert damaged_share(misread) > 0.05
    assert damaged_share("磨坊在河边".encode().decode("latin-1")) > 0.3
    assert damaged_share("磨坊在河边。") == 0.0
    assert damaged_share("a\ufffdb\x85") == 0.5
