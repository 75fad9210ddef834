"""The base of V3 nodes. Each call runs on a locked copy of the class, so that a node keeps no state there."""

# ruff: noqa: N805 - a class property gets the class

from __future__ import annotations

import inspect
from abc import ABC, ABCMeta
from typing import Any, ClassVar, cast

from .graph_utils import ExecutionBlocker
from .v3_schema import HiddenHolder, Schema
from .v3_types import classproperty


class NodeOutput:
    """What a node gives back: its outputs, what to show, a graph to expand into, or a block."""

    def __init__(
        self, *args: Any, ui: Any = None, expand: dict[str, Any] | None = None, block_execution: str | None = None
    ) -> None:
        self.args = args
        self.ui = ui
        self.expand = expand
        self.block_execution = block_execution

    @property
    def result(self) -> tuple[Any, ...] | None:
        """The outputs; None where there are none."""
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        """One of the outputs."""
        return self.args[index]

    @classmethod
    def of(cls, returned: Any, may_expand: bool) -> NodeOutput:
        """Whatever form a node's answer has, in this one."""
        output = cls._from(returned)
        if output.expand is not None and not may_expand:
            raise Exception("a node that expands must set enable_expand=True in its schema")
        return output

    @classmethod
    def _from(cls, returned: Any) -> NodeOutput:
        if returned is None:
            return cls()
        if isinstance(returned, NodeOutput):
            return returned
        if isinstance(returned, tuple):
            return cls(*returned)
        if isinstance(returned, ExecutionBlocker):
            return cls(block_execution=returned.message)
        if isinstance(returned, dict):
            result = returned.get("result", ())
            if isinstance(result, ExecutionBlocker):
                return cls(block_execution=result.message)
            return cls(*result, ui=returned.get("ui"), expand=returned.get("expand"))
        raise Exception(f"Invalid return type from node: {type(returned)}")


class _Lockable(ABCMeta):
    def __setattr__(cls, name: str, value: Any) -> None:
        if cls.__dict__.get("_locked"):
            raise AttributeError(f"{cls.__name__} is locked during a call: {name} can't be set on the class")
        super().__setattr__(name, value)


class ComfyNode(ABC, metaclass=_Lockable):
    """A V3 node: ``define_schema`` and ``execute``, both class methods."""

    RELATIVE_PYTHON_MODULE: ClassVar[str | None] = None
    SCHEMA: ClassVar[Schema | None] = None
    hidden: ClassVar[HiddenHolder] = HiddenHolder({})

    @classmethod
    def define_schema(cls) -> Schema:
        """What the node is."""
        raise NotImplementedError

    @classmethod
    def execute(cls, *args: Any, **kwargs: Any) -> Any:
        """What the node does. Optional inputs that the graph doesn't give aren't passed."""
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, *args: Any, **kwargs: Any) -> Any:
        """True, or what is wrong with the literals. Called only where overridden."""
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, *args: Any, **kwargs: Any) -> Any:
        """Something that changes when the node must run again. Called only where overridden."""
        raise NotImplementedError

    @classmethod
    def check_lazy_status(cls, *args: Any, **kwargs: Any) -> list[str]:
        """Which lazy inputs are needed. Called only where overridden."""
        raise NotImplementedError

    @classmethod
    def overrides(cls, name: str) -> bool:
        """Whether a node class gives its own version of this method."""
        return any(name in base.__dict__ for base in cls.__mro__ if base not in ComfyNode.__mro__)

    @classmethod
    def GET_SCHEMA(cls) -> Schema:  # noqa: N802 - ComfyUI's name
        """The schema, checked and kept."""
        schema = cls.FINALIZE_SCHEMA()
        schema.validate()
        cls.SCHEMA = schema
        return schema

    @classmethod
    def FINALIZE_SCHEMA(cls) -> Schema:  # noqa: N802 - ComfyUI's name
        """A fresh schema."""
        for name in ("define_schema", "execute"):
            if not cls.overrides(name):
                raise Exception(f"No {name} function was defined for node class {cls.__name__}.")
        schema = cls.define_schema()
        schema.finalize()
        return schema

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 - ComfyUI's name
        """The inputs in V1's form, asked anew each time."""
        return cls.FINALIZE_SCHEMA().input_types()

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The node's entry in /object_info."""
        return cls.GET_SCHEMA().info(cls.RELATIVE_PYTHON_MODULE or "nodes")

    @classmethod
    def EXECUTE_NORMALIZED(cls, **kwargs: Any) -> NodeOutput:  # noqa: N802 - ComfyUI's name
        """Run, and give one form of answer."""
        return NodeOutput.of(cls.execute(**kwargs), cls._schema().enable_expand)

    @classmethod
    async def EXECUTE_NORMALIZED_ASYNC(cls, **kwargs: Any) -> NodeOutput:  # noqa: N802 - ComfyUI's name
        """The same for a coroutine."""
        return NodeOutput.of(await cls.execute(**kwargs), cls._schema().enable_expand)

    @classmethod
    def prepare(cls, hidden: dict[str, Any]) -> type[ComfyNode]:
        """A locked copy of the class for one call, with what it may know of its prompt."""
        body = {"hidden": HiddenHolder(hidden), "__module__": cls.__module__}
        clone: Any = _Lockable(cls.__name__, (cls,), body)
        type.__setattr__(clone, "_locked", True)
        return cast("type[ComfyNode]", clone)

    @classmethod
    def _schema(cls) -> Schema:
        return cls.SCHEMA if cls.SCHEMA is not None else cls.GET_SCHEMA()

    @classproperty
    def FUNCTION(cls) -> str:  # noqa: N802
        """V1: the method to call."""
        return "EXECUTE_NORMALIZED_ASYNC" if inspect.iscoroutinefunction(cls.execute) else "EXECUTE_NORMALIZED"

    @classproperty
    def RETURN_TYPES(cls) -> list[str]:  # noqa: N802
        """V1: the outputs' types."""
        return [output.io_type for output in cls._schema().outputs]

    @classproperty
    def RETURN_NAMES(cls) -> list[str]:  # noqa: N802
        """V1: the outputs' names."""
        return cls._schema().output_names()

    @classproperty
    def OUTPUT_IS_LIST(cls) -> list[bool]:  # noqa: N802
        """V1: which outputs are lists."""
        return [output.is_output_list for output in cls._schema().outputs]

    @classproperty
    def OUTPUT_NODE(cls) -> bool:  # noqa: N802
        """V1: whether a prompt runs for this node's sake."""
        return cls._schema().is_output_node

    @classproperty
    def INPUT_IS_LIST(cls) -> bool:  # noqa: N802
        """V1: whether it takes lists whole."""
        return cls._schema().is_input_list

    @classproperty
    def NOT_IDEMPOTENT(cls) -> bool:  # noqa: N802
        """V1: whether two equal nodes may give different results."""
        return cls._schema().not_idempotent

    @classproperty
    def ACCEPT_ALL_INPUTS(cls) -> bool:  # noqa: N802
        """Whether inputs that the schema doesn't name are passed, too."""
        return cls._schema().accept_all_inputs

    @classproperty
    def CATEGORY(cls) -> str:  # noqa: N802
        """V1: where the page lists it."""
        return cls._schema().category

    @classproperty
    def DESCRIPTION(cls) -> str:  # noqa: N802
        """V1: what the page says of it."""
        return cls._schema().description
