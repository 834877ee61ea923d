package wasm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// listen opens the first of the ports, or any when there is none.
func listen(ctx context.Context, task *runtime.Task, ports []*dhowv1.Port) (net.Listener, *dhowv1.PortStatus, error) {
	port := &dhowv1.Port{Name: "http"}
	if len(ports) > 0 {
		port = ports[0]
	}
	name := port.GetName()
	if name == "" {
		name = "http"
	}
	address := net.JoinHostPort(task.Address, strconv.Itoa(int(port.GetHostPort())))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		reason := "ListenFailed"
		if errors.Is(err, syscall.EADDRINUSE) {
			reason = "PortInUse"
		}
		return nil, nil, &runtime.Error{Reason: reason, Err: fmt.Errorf("port %s: %w", name, err)}
	}
	host := task.Address
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	_, number, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("port %s: %w", name, err), l.Close())
	}
	return l, &dhowv1.PortStatus{Name: name, Address: net.JoinHostPort(host, number)}, nil
}

// listenAll opens all of the task's ports.
func listenAll(ctx context.Context, task *runtime.Task) (all []net.Listener, started runtime.Started, err error) {
	for _, p := range task.Spec.GetPorts() {
		l, status, err := listen(ctx, task, []*dhowv1.Port{p})
		if err != nil {
			return nil, runtime.Started{}, errors.Join(err, closeAll(all))
		}
		all = append(all, l)
		started.Ports = append(started.Ports, status)
	}
	return all, started, nil
}

func closeAll(all []net.Listener) error {
	var err error
	for _, l := range all {
		err = errors.Join(err, l.Close())
	}
	return err
}
