"""A core is known by its model and features; where they disagree, features decide."""

import pytest

from hwmodels.architectures import (
    FEATURES,
    architectures,
    nearest_architecture,
    recognise,
    top_feature,
)
from hwmodels.devices import find_spec
from tests.hwmodels.test_catalog import CPUS


@pytest.mark.parametrize("name", architectures())
def test_each_architecture_is_recognised_by_its_own_model_and_features(name):
    core = architectures()[name]
    features = FEATURES[core.isa]
    flags = features[: features.index(core.top) + 1]
    for model in core.models:
        assert recognise(core.isa, model, flags, core.designer).name in {
            other.name for other in architectures().values() if model in other.models
        }


@pytest.mark.parametrize("name", architectures())
def test_each_architecture_has_a_device_of_the_catalog_that_stands_for_it(name):
    assert find_spec(architectures()[name].device).architecture == name


@pytest.mark.parametrize("name", CPUS)
def test_each_cpu_of_the_catalog_has_a_known_architecture(name):
    assert find_spec(name).architecture in architectures()


def test_skylake_and_cascade_lake_share_a_model_and_differ_in_features():
    skylake = ["avx", "avx2", "avx512f"]
    assert recognise("x86-64", "6/85", skylake, "Intel").name == "skylake-server"
    assert recognise("x86-64", "6/85", [*skylake, "avx512_vnni"], "Intel").name == "cascade-lake"


def test_a_virtual_machine_that_reports_an_old_model_is_known_by_its_features():
    flags = ["avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"]
    assert recognise("x86-64", "6/167", flags, "Intel").name == "sapphire-rapids"


def test_an_unknown_model_is_taken_for_the_newest_of_its_designer_with_these_features():
    flags = ["avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"]
    assert recognise("x86-64", "99/1", flags, "AMD").name == "zen5"
    assert recognise("aarch64", "0x41/0xfff", ["asimd", "asimddp", "sve"], "ARM").name == (
        "neoverse-v1"
    )


def test_an_unknown_instruction_set_still_gives_some_core():
    assert recognise("riscv64", "", [], "").name in architectures()


def test_the_furthest_feature_counts():
    assert top_feature("x86-64", ["avx512f", "avx", "avx2"]) == "avx512f"
    assert top_feature("x86-64", ["sse2"]) == ""
    assert top_feature("riscv64", ["v"]) == ""


@pytest.mark.parametrize(
    ("name", "among", "nearest"),
    [
        ("zen4", ["zen2", "zen4"], "zen4"),
        ("zen4", ["zen2", "zen5"], "zen5"),
        ("broadwell", ["zen2", "raptor-lake", "apple-firestorm"], "raptor-lake"),
        ("apple-firestorm", ["zen5", "cortex-a72"], "cortex-a72"),
        ("zen4", [], None),
        ("zen4", ["no-such-core"], None),
    ],
)
def test_the_nearest_core_has_the_same_instructions_then_features_then_designer(
    name, among, nearest
):
    assert nearest_architecture(name, among) == nearest


def test_an_unknown_core_still_has_a_nearest_one():
    assert nearest_architecture("core-of-tomorrow", ["zen2", "neoverse-n1"]) is not None
