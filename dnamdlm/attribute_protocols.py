"""Protocols whose members may be layers, weights or buffers of a torch module."""

from __future__ import annotations

from typing import Any, Protocol

_ProtocolMeta: Any = type(Protocol)


class ByAttributes(_ProtocolMeta):
    """Metaclass of runtime-checkable protocols that `isinstance` compares by attributes.

    A torch module gives its layers, weights and buffers by `__getattr__`, which from Python 3.12 on
    `isinstance` does not ask for the members of a protocol. With this metaclass they count.

    Example:
        >>> from typing import Protocol, runtime_checkable
        >>> @runtime_checkable
        ... class HasHead(Protocol, metaclass=ByAttributes):
        ...     head: object
        >>> class Lazy:
        ...     def __getattr__(self, name):
        ...         if name == "head":
        ...             return 1
        ...         raise AttributeError(name)
        >>> isinstance(Lazy(), HasHead), isinstance(3, HasHead)
        (True, False)
    """

    def __instancecheck__(cls, instance: object) -> bool:  # noqa: N805
        """Whether an object has all members, however it gives them."""
        if super().__instancecheck__(instance):
            return True
        # there from Python 3.12 on; before, the check above asks every attribute.
        names = cls.__dict__.get("__protocol_attrs__")
        return bool(names) and all(hasattr(instance, name) for name in names)
