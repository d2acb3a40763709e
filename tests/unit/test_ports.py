import socket

from ledgerx_cli.ports import free_ports, is_free


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(*[0] * 200)
    assert len(set(ports)) == 200
    assert all(map(is_free, ports))


def test_a_preferred_port_is_kept_until_somebody_listens_on_it() -> None:
    (port,) = free_ports(0)
    assert free_ports(port) == (port,)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert free_ports(port) != (port,)
