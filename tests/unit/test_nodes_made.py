"""Our nodes are made of whatever interface a ComfyUI has; where one can't be, that costs it alone."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from run_recorder.embedded_host import io as embedded_io
from run_recorder.nodes import API, LEFT_OUT, extension
from run_recorder.telemetry.process.problems import Problems


class DemandingTemplate(embedded_io.MatchType.Template):
    """As ComfyUI 0.3.64 has it: the types that it takes must be named."""

    def __init__(self, template_id: str, allowed_types: Any) -> None:
        super().__init__(template_id, allowed_types)


class Interface:
    """A ComfyUI's interface for nodes, on which a test may break something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.io = SimpleNamespace(**{name: getattr(embedded_io, name) for name in embedded_io.__all__})
        self.problems = Problems()
        self.host: Any = SimpleNamespace(problems=self.problems)
        module = ModuleType(API)
        module.io, module.ComfyExtension = self.io, object  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, API, module)

    async def made(self) -> list[str]:
        return [node.define_schema().node_id for node in await extension(self.host).get_node_list()]

    def told(self) -> dict[str, str]:
        return {problem.what: problem.hint for problem in self.problems.all()}


@pytest.fixture
def interface(monkeypatch: pytest.MonkeyPatch) -> Interface:
    return Interface(monkeypatch)


BOTH = ["WriteDoneMarker", "GPUTelemetry"]


async def test_both_are_made_and_nothing_is_told(interface: Interface) -> None:
    assert (await interface.made(), interface.told()) == (BOTH, {})


async def test_both_are_made_where_a_template_demands_its_types(interface: Interface) -> None:
    interface.io.MatchType = SimpleNamespace(
        Template=DemandingTemplate, Input=embedded_io.MatchType.Input, Output=embedded_io.MatchType.Output
    )
    assert (await interface.made(), interface.told()) == (BOTH, {})
    template = DemandingTemplate("after", interface.io.AnyType)
    assert template.as_dict()["allowed_types"] == "*", "anything may be passed through"


async def test_a_node_that_cannot_be_made_costs_itself_and_health_says_so(interface: Interface) -> None:
    del interface.io.Boolean
    assert await interface.made() == ["GPUTelemetry"]
    (what, hint) = next(iter(interface.told().items()))
    assert what == "node Write Done Marker"
    assert LEFT_OUT in hint


async def test_with_no_match_type_at_all_there_are_no_nodes_and_nothing_is_raised(interface: Interface) -> None:
    del interface.io.MatchType
    assert await interface.made() == []
    assert set(interface.told()) == {"node Write Done Marker", "node GPU Telemetry"}


def test_without_the_interface_health_says_so(interface: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, API, None)
    with pytest.raises(ImportError):
        extension(interface.host)
    assert set(interface.told()) == {"nodes"}


async def test_a_second_copy_of_this_package_brings_none(interface: Interface) -> None:
    assert await extension(None).get_node_list() == []
