package probe

import (
	"net"
	"syscall"
)

// quickAck asks the kernel to acknowledge at once for a while. Prosody sends
// its TLS session ticket and then holds its features in Nagle's buffer until
// we acknowledge: 40 ms unless this is set after the second header was sent.
// Failing to set it costs time and nothing else.
func quickAck(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
