"""The types of inputs and outputs that a V3 node's schema is made of: most of ``io``."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")
MATCH_TYPE = "COMFY_MATCHTYPE_V3"


class FolderType(str, Enum):
    """Which folder a file lies in."""

    input = "input"
    output = "output"
    temp = "temp"


class InputBase:
    """An input: its id, whether a graph may leave it out, and what the page shows of it."""

    io_type: str = "*"
    accepted: ClassVar[frozenset[str]] = frozenset({"raw_link", "advanced", "extra_dict"})

    def __init__(
        self,
        id: str,  # noqa: A002 - ComfyUI's name
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        **options: Any,
    ) -> None:
        if unknown := set(options) - self.accepted:
            raise TypeError(f"{type(self).__qualname__} takes no {', '.join(sorted(unknown))}")
        self.id = id
        self.optional = optional
        self.options: dict[str, Any] = {"display_name": display_name, "tooltip": tooltip, "lazy": lazy, **options}

    def as_dict(self) -> dict[str, Any]:
        """The options as the V1 form of the schema has them: those not given are left out."""
        plain = {_v1_name(key): value for key, value in self.options.items() if key != "extra_dict"}
        plain |= self.options.get("extra_dict") or {}
        return {key: value for key, value in plain.items() if value is not None}

    def get_io_type(self) -> Any:
        """What the V1 form has for a type."""
        return self.io_type


def _v1_name(name: str) -> str:
    renamed = {"raw_link": "rawLink", "force_input": "forceInput", "widget_type": "widgetType"}
    return renamed.get(name, name)


class WidgetInput(InputBase):
    """An input that people may also type in."""

    accepted = InputBase.accepted | {"default", "socketless", "widget_type", "force_input"}


class OutputBase:
    """An output; a list output gives each element to one call of the next node."""

    io_type: str = "*"

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - ComfyUI's name
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list


class IoType:
    """A type of value. A subclass names it and gets an Input and an Output of that type."""

    io_type: ClassVar[str] = "*"

    class Input(InputBase):
        """An input of this type."""

    class Output(OutputBase):
        """An output of this type."""

    def __init_subclass__(cls, io_type: str = "*") -> None:
        cls.io_type = io_type
        named: dict[str, Any] = {"io_type": io_type, "__module__": cls.__module__}
        for door, base in (("Input", cls.Input), ("Output", cls.Output)):
            setattr(cls, door, type(door, (base,), {**named, "__qualname__": f"{cls.__name__}.{door}"}))


class Image(IoType, io_type="IMAGE"):
    """A batch of pictures."""


class AnyType(IoType, io_type="*"):
    """Any type at all."""


class String(IoType, io_type="STRING"):
    """Text."""

    class Input(WidgetInput):
        """Text, one line or more."""

        accepted = WidgetInput.accepted | {"multiline", "placeholder", "dynamic_prompts"}

        def as_dict(self) -> dict[str, Any]:
            """Multiline is always told."""
            return {**super().as_dict(), "multiline": bool(self.options.get("multiline"))}


_NUMERIC = WidgetInput.accepted | {"min", "max", "step", "round", "control_after_generate", "display_mode"}


class Int(IoType, io_type="INT"):
    """A whole number."""

    class Input(WidgetInput):
        """A whole number between min and max."""

        accepted = frozenset(_NUMERIC)


class Float(IoType, io_type="FLOAT"):
    """A number."""

    class Input(WidgetInput):
        """A number between min and max."""

        accepted = frozenset(_NUMERIC)


class Boolean(IoType, io_type="BOOLEAN"):
    """Yes or no."""

    class Input(WidgetInput):
        """A switch."""

        accepted = WidgetInput.accepted | {"label_on", "label_off"}


class Combo(IoType, io_type="COMBO"):
    """One of several words."""

    class Input(WidgetInput):
        """A choice; ``options`` are its words, or an Enum."""

        accepted = WidgetInput.accepted | {"options", "control_after_generate", "multiselect"}

        def __init__(self, id: str, options: Any = None, **more: Any) -> None:  # noqa: A002 - ComfyUI's name
            if isinstance(options, type) and issubclass(options, Enum):
                options = [member.value for member in options]
            if isinstance(more.get("default"), Enum):
                more["default"] = more["default"].value
            super().__init__(id, **more)
            self.options |= {"options": options, "multiselect": bool(more.get("multiselect"))}


class MatchType(IoType, io_type=MATCH_TYPE):
    """Several inputs and outputs of one type, whichever it is."""

    class Template:
        """Ties together those that must match."""

        def __init__(self, template_id: str, allowed_types: Any = None) -> None:
            given = allowed_types if isinstance(allowed_types, (list, tuple)) else [allowed_types or AnyType]
            self.template_id = template_id
            self.allowed_types: list[type[IoType]] = list(given)

        def as_dict(self) -> dict[str, Any]:
            """As the page wants it."""
            types = ",".join(kind.io_type for kind in self.allowed_types)
            return {"template_id": self.template_id, "allowed_types": types}

    class Input(InputBase):
        """An input of the template's type."""

        def __init__(self, id: str, template: MatchType.Template, **more: Any) -> None:  # noqa: A002
            super().__init__(id, **more)
            self.template = template

        def as_dict(self) -> dict[str, Any]:
            """The options, and the template."""
            return {**super().as_dict(), "template": self.template.as_dict()}

    class Output(OutputBase):
        """An output of the template's type."""

        def __init__(self, template: MatchType.Template, id: str | None = None, **more: Any) -> None:  # noqa: A002
            super().__init__(id, **more)
            self.template = template


class classproperty(Generic[T]):  # noqa: N801 - reads like property
    """A property of the class, also seen through its instances."""

    def __init__(self, getter: Any) -> None:
        self._getter = getter

    def __get__(self, instance: object, owner: type[Any]) -> T:
        """Ask the class."""
        value: T = self._getter(owner)
        return value
