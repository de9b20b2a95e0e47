# SPDX-License-Identifier: Apache-2.0
"""The call that makes a model of a host: `from_host`."""

from __future__ import annotations

from prunecore.hosts.host import Host
from prunecore.hosts.host_model import HostModel


def from_host(host: Host) -> HostModel:
    """A model that this program runs itself, wherever its layers live.

    Parameters
    ----------
    host : Host
        Says what the model is made of, and computes it.

    Returns
    -------
    HostModel
        A `Model` like any other: what the host does not offer is refused with `UnsupportedError`,
        which names the method that is missing.

    Raises
    ------
    ArgumentError
        An attribute of the host is out of range, or a method that is needed is not defined.
    """
    return HostModel(host)
