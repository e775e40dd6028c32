//go:build !windows

package probe

import "syscall"

// errnos sorts the operating system's errors: first the server's or the
// network's doing, then our own.
var errnos = map[syscall.Errno]Class{
	syscall.ECONNREFUSED: Refused,
	syscall.ETIMEDOUT:    Timeout,
	syscall.ECONNRESET:   Reset,
	syscall.ECONNABORTED: Reset,
	syscall.EPIPE:        Reset,
	syscall.EHOSTUNREACH: Unreachable,
	syscall.EHOSTDOWN:    Unreachable,
	syscall.ENETUNREACH:  Unreachable,
	syscall.ENOPROTOOPT:  Unreachable,

	syscall.EMFILE:        LocalError,
	syscall.ENFILE:        LocalError,
	syscall.ENOMEM:        LocalError,
	syscall.ENOBUFS:       LocalError,
	syscall.ENETDOWN:      LocalError,
	syscall.EADDRNOTAVAIL: LocalError,
	syscall.EADDRINUSE:    LocalError,
	syscall.EAFNOSUPPORT:  LocalError,
	syscall.EACCES:        LocalError,
	syscall.EPERM:         LocalError,
	syscall.EINVAL:        LocalError,
	syscall.EAGAIN:        LocalError,
}
