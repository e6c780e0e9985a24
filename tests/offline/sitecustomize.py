"""Imported by every Python that has this folder on its path: nothing is reached beyond the machine itself."""

import socket

HERE = ("127.0.0.1", "::1", "localhost")
_connect, _find = socket.socket.connect, socket.getaddrinfo


def _refuse(host):
    if host not in HERE:
        raise OSError(f"no network here: {host!r} asked for")


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse(address[0])
    return _connect(self, address)


def getaddrinfo(host, *args, **settings):
    _refuse(host)
    return _find(host, *args, **settings)


socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
