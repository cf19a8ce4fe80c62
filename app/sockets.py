"""Listening sockets for several processes on one port."""

import socket


def bind_sockets(host: str, port: int, n: int) -> list[list[socket.socket]]:
    """Bind as many times as there are workers to every address of a host.

    Parameters
    ----------
    port
        0 takes a free one, the same for all.

    Raises
    ------
    OSError
        If the port is taken, also by another service of the same user with several workers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in found if port else ():
        with _make_socket(family) as probe:
            probe.bind(address)
    bound: list[list[socket.socket]] = []
    try:
        for _ in range(n):
            bound.append([])
            for family, _, _, _, address in found:
                one = _make_socket(family)
                bound[-1].append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind((address[0], port, *address[2:]))
                port = port or one.getsockname()[1]
    except OSError:
        for one in (one for several in bound for one in several):
            one.close()
        raise
    return bound


def _make_socket(family: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return one
