package probe

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnos sorts the operating system's errors: first the server's or the
// network's doing, then our own.
var errnos = map[syscall.Errno]Class{
	windows.WSAECONNREFUSED: Refused,
	windows.WSAETIMEDOUT:    Timeout,
	windows.WSAECONNRESET:   Reset,
	windows.WSAECONNABORTED: Reset,
	windows.WSAENETRESET:    Reset,
	windows.WSAESHUTDOWN:    Reset,
	windows.WSAEHOSTUNREACH: Unreachable,
	windows.WSAEHOSTDOWN:    Unreachable,
	windows.WSAENETUNREACH:  Unreachable,

	windows.WSAEMFILE:        LocalError,
	windows.WSAENOBUFS:       LocalError,
	windows.WSAENETDOWN:      LocalError,
	windows.WSAEADDRNOTAVAIL: LocalError,
	windows.WSAEADDRINUSE:    LocalError,
	windows.WSAEAFNOSUPPORT:  LocalError,
	windows.WSAEACCES:        LocalError,
	windows.WSAEINVAL:        LocalError,
}
