"""Which outputs of a prompt may run, and what is wrong with the others: ``execution.validate_prompt``."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Iterable
from typing import Any

from . import nodes
from .calling import Call, finished
from .failure import full_type_name
from .graph_utils import ExecutionBlocker
from .input_checks import InputError, check_link, check_literal
from .inputs import gather, input_info
from .v3_node import ComfyNode

Error = dict[str, Any]
# (valid, the error of all, the outputs to execute, the errors by node)
Verdict = tuple[bool, "Error | None", list[str], dict[str, Any]]


async def validate_prompt(prompt_id: str, prompt: dict[str, Any], partial_execution_list: list[str] | None) -> Verdict:
    """Check each output and what it depends on. One good output is enough for the prompt to be queued."""
    if (missing := _missing_class(prompt)) is not None:
        return False, missing, [], {}
    outputs = [node_id for node_id in prompt if _is_wanted(prompt, node_id, partial_execution_list)]
    if not outputs:
        return False, _error("prompt_no_outputs", "Prompt has no outputs", ""), [], {}
    validator = Validator(prompt_id, prompt)
    refused = [node_id for node_id in outputs if not await validator.accepts(node_id)]
    good = [node_id for node_id in outputs if node_id not in refused]
    if good:
        return True, None, good, validator.node_errors
    told = [error for node_id in refused for error in validator.errors_of(node_id)]
    details = "\n".join(f"{error['message']}: {error['details']}" for error in told)
    message = "Prompt outputs failed validation"
    return False, _error("prompt_outputs_failed_validation", message, details), [], validator.node_errors


def _error(kind: str, message: str, details: str, **extra: Any) -> Error:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _missing_class(prompt: dict[str, Any]) -> Error | None:
    for node_id, node in prompt.items():
        class_type = node.get("class_type")
        if class_type in nodes.NODE_CLASS_MAPPINGS:
            continue
        title = node.get("_meta", {}).get("title")
        if "class_type" not in node:
            message = f"Node '{title or f'ID #{node_id}'}' has no class_type."
        else:
            title = title or class_type
            message = f"Node '{title}' not found. The custom node may not be installed."
        extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
        return _error("missing_node_type", message, f"Node ID '#{node_id}'", **extra)
    return None


def _is_wanted(prompt: dict[str, Any], node_id: str, only: Iterable[str] | None) -> bool:
    node_class = nodes.NODE_CLASS_MAPPINGS[prompt[node_id]["class_type"]]
    return getattr(node_class, "OUTPUT_NODE", False) is True and (only is None or node_id in only)


class Validator:
    """What has been found out so far about the nodes of one prompt."""

    def __init__(self, prompt_id: str, prompt: dict[str, Any]) -> None:
        self._prompt_id = prompt_id
        self._prompt = prompt
        self._judged: dict[str, tuple[bool, list[Error]]] = {}
        self.node_errors: dict[str, Any] = {}

    def errors_of(self, node_id: str) -> list[Error]:
        """What is wrong with a node itself; nothing where only something upstream is."""
        return self._judged[node_id][1]

    async def accepts(self, output: str) -> bool:
        """Whether an output may run; if not, notes which nodes are to blame."""
        try:
            good = await self._judge(output, ())
        except Exception as error:  # noqa: BLE001 - a prompt of any shape gets an answer, not a 500
            extra = {
                "exception_type": full_type_name(type(error)),
                "traceback": traceback.format_tb(error.__traceback__),
            }
            wrong = _error("exception_during_validation", "Exception when validating node", str(error), **extra)
            self._judged[output] = good, _ = False, [wrong]
        if not good:
            self._blame(output)
        return good

    def _blame(self, output: str) -> None:
        logging.error("Failed to validate prompt for output %s", output)
        for node_id, (good, errors) in self._judged.items():
            if good or not errors:
                continue
            class_type = self._prompt[node_id]["class_type"]
            entry = {"errors": errors, "dependent_outputs": [], "class_type": class_type}
            self.node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
            for error in errors:
                logging.error("* %s %s: %s: %s", class_type, node_id, error["message"], error["details"])

    async def _judge(self, node_id: str, path: tuple[str, ...]) -> bool:
        if node_id in path:
            self._refuse_cycle((*path[path.index(node_id) :], node_id))
        if node_id not in self._judged:
            good, errors = await self._inspect(node_id, (*path, node_id))
            before = self._judged.get(node_id, (True, []))
            known = before[1] + [error for error in errors if error not in before[1]]
            self._judged[node_id] = (before[0] and good and not errors, known)
        return self._judged[node_id][0]

    def _refuse_cycle(self, circle: tuple[str, ...]) -> None:
        members = list(dict.fromkeys(circle))
        shown = " -> ".join(f"{node_id} ({self._prompt[node_id]['class_type']})" for node_id in circle)
        for node_id in members:
            extra = {"node_id": node_id, "cycle_nodes": members}
            self._judged[node_id] = False, [_error("dependency_cycle", "Dependency cycle detected", shown, **extra)]

    async def _inspect(self, node_id: str, path: tuple[str, ...]) -> tuple[bool, list[Error]]:
        """Whether all upstream is good, and this node's own errors."""
        node = self._prompt[node_id]
        node_class = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
        custom = CustomCheck(node_class)
        types = node_class.INPUT_TYPES()
        received: dict[str, Any] = {}
        good, errors = True, list[Error]()
        for name in [*types.get("required", {}), *types.get("optional", {})]:
            try:
                good &= await self._check_input(name, node["inputs"], types, custom, received, path)
            except InputError as wrong:
                errors.append(wrong.as_dict())
        errors += await custom.run(self._prompt_id, node_id, node["inputs"], received)
        return good, errors

    async def _check_input(
        self,
        name: str,
        inputs: dict[str, Any],
        types: dict[str, Any],
        custom: CustomCheck,
        received: dict[str, Any],
        path: tuple[str, ...],
    ) -> bool:
        kind, category, info = input_info(types, name)
        if name not in inputs:
            if category == "required":
                raise InputError("required_input_missing", "Required input is missing", name, name)
            return True
        value = inputs[name]
        if not isinstance(value, list):
            inputs[name] = check_literal(name, value, kind, info, bounds=not custom.takes(name))
            return True
        received[name] = check_link(name, value, kind, info, self._prompt, types_matter=not custom.takes_types)
        return await self._check_source(name, value, (kind, info), path)

    async def _check_source(self, name: str, link: list[Any], config: tuple[Any, Any], path: tuple[str, ...]) -> bool:
        try:
            return await self._judge(link[0], path)
        except Exception as error:  # noqa: BLE001 - the node upstream is refused, and this one with it
            extra = {"input_name": name, "input_config": config, "linked_node": link}
            extra |= {"exception_message": str(error), "exception_type": full_type_name(type(error))}
            extra["traceback"] = traceback.format_tb(error.__traceback__)
            message = "Exception when validating inner node"
            self._judged[link[0]] = False, [_error("exception_during_inner_validation", message, str(error), **extra)]
            return False


class CustomCheck:
    """A node class's own check. It gets the inputs that its signature names; links stand as None."""

    def __init__(self, node_class: type[Any]) -> None:
        is_v3 = issubclass(node_class, ComfyNode)
        self._node_class = node_class
        self._method = "validate_inputs" if is_v3 else "VALIDATE_INPUTS"
        there = node_class.overrides(self._method) if is_v3 else hasattr(node_class, self._method)
        spec = inspect.getfullargspec(getattr(node_class, self._method)) if there else None
        self._names: list[str] = spec.args if spec is not None else []
        self._any = spec is not None and spec.varkw is not None

    def takes(self, name: str) -> bool:
        """Whether the class checks this input itself."""
        return self._any or name in self._names

    @property
    def takes_types(self) -> bool:
        """Whether the class compares the types of links itself."""
        return "input_types" in self._names

    async def run(self, prompt_id: str, node_id: str, inputs: dict[str, Any], received: dict[str, Any]) -> list[Error]:
        """One error for each input that was passed, for each answer that isn't True."""
        if not self._names and not self._any:
            return []
        gathered = gather(self._node_class, node_id, inputs)
        gathered.values = {name: value for name, value in gathered.values.items() if self.takes(name)}
        if self.takes_types:
            gathered.values["input_types"] = [received]
        answers = await finished(await Call(self._node_class, self._method, prompt_id, node_id).over(gathered))
        wrong = [a for a in answers if a is not True and not isinstance(a, ExecutionBlocker)]
        message = "Custom validation failed for node"
        return [
            InputError("custom_validation_failed", message, name if a is False else f"{name} - {a}", name).as_dict()
            for name in gathered.values
            for a in wrong
        ]
