package wasmrt

// Flags of sock_recv.
const (
	recvPeek    = 1 << 0
	recvWaitall = 1 << 1
)

// conn is the connection that the first parameter names.
func (c wasiCall) conn() (*conn, errno) {
	d, e := c.fd()
	if e != success {
		return nil, e
	}
	switch d := d.(type) {
	case *conn:
		return d, success
	case *listener:
		return nil, errnoNotconn
	}
	return nil, errnoNotsock
}

func sockAccept(c wasiCall) errno {
	d, e := c.fd()
	if e != success {
		return e
	}
	l, ok := d.(*listener)
	flags := c.u32(1)
	switch {
	case !ok:
		return errnoNotsock
	case flags&^flagNonblock != 0:
		return errnoInval
	case c.files.full():
		return errnoMfile
	}
	if _, e := c.viewAt(c.u32(2), 4); e != success {
		return e
	}
	s, e := l.accept(c)
	if e != success {
		return e
	}
	s.nonblock = flags&flagNonblock != 0
	return c.put32(2, c.files.add(s))
}

func sockRecv(c wasiCall) errno {
	s, e := c.conn()
	if e != success {
		return e
	}
	flags := c.u32(3)
	if flags&^(recvPeek|recvWaitall) != 0 {
		return errnoNotsup
	}
	var n uint32
	switch {
	case flags&recvPeek != 0:
		done := false
		n, e = c.vectors(1, func(p []byte) (int, errno) {
			if done {
				return 0, success // a second look would show the same
			}
			done = true
			return s.peek(c, p)
		})
	case flags&recvWaitall != 0:
		n, e = c.vectors(1, func(p []byte) (int, errno) { return s.readAll(c, p) })
	default:
		n, e = c.readInto(1, s)
	}
	if e != success {
		return e
	}
	if !c.memory.WriteUint16Le(c.u32(5), 0) {
		return errnoFault
	}
	return c.put32(4, n)
}

// readAll fills p unless the connection ends or would block.
func (s *conn) readAll(c wasiCall, p []byte) (int, errno) {
	sum := 0
	for sum < len(p) {
		n, e := s.read(c, p[sum:])
		switch {
		case e != success && sum == 0:
			return 0, e
		case e != success || n == 0:
			return sum, success
		}
		sum += n
	}
	return sum, success
}

func sockSend(c wasiCall) errno {
	s, e := c.conn()
	if e != success {
		return e
	}
	if c.u32(3) != 0 {
		return errnoNotsup
	}
	n, e := c.vectors(1, func(p []byte) (int, errno) { return s.write(c, p) })
	if e != success {
		return e
	}
	return c.put32(4, n)
}

func sockShutdown(c wasiCall) errno {
	s, e := c.conn()
	if e != success {
		return e
	}
	return s.shutdown(c.u32(1))
}
