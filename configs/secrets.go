package configs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"strings"

	"edgewatch/actions"
)

// maxSecret limits a file with a secret or a certificate.
const maxSecret = 1 << 20

// secret is one place of the configuration that refers to a secret.
type secret struct {
	section   string        // path of the struct it is in
	key       string        // _file and _env are added to it
	file, env string        // what the keys say
	into      reflect.Value // the actions.Secret
	optional  bool          // may be left out
	prefix    string        // what it must begin with
	form      string        // "base64" or ""
}

func (r secret) path(suffix string) string { return join(r.section, r.key+suffix) }

// used is the path of the key that names the secret, "" if there is none.
func (r secret) used() string {
	switch {
	case r.file != "":
		return r.path("_file")
	case r.env != "":
		return r.path("_env")
	}
	return ""
}

// LoadSecrets reads every secret the configuration refers to, and checks that
// the certificates and keys it names can be read and fit together. All
// problems come back at once, as Errors that point into the file. Until then
// the secrets of c are empty.
func (c *Config) LoadSecrets() error {
	kept := c.src.problems
	c.src.problems = nil
	c.eachSecret(func(r secret) {
		if r.used() == "" {
			return
		}
		word, err := r.read()
		if err != nil {
			c.src.unread(r.used(), err)
			return
		}
		r.into.Set(reflect.ValueOf(actions.NewSecret(word)))
	})
	c.eachSection(c.certificates)
	errs := c.src.errors()
	c.src.problems = kept
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// read gets the secret. Its errors never hold any of it.
func (r secret) read() (string, error) {
	word, ok := os.LookupEnv(r.env)
	if r.file != "" {
		b, err := readPrivate(r.file)
		if err != nil {
			return "", err
		}
		word, ok = strings.TrimRight(string(b), "\r\n"), true
	}
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set", r.env)
	}
	switch {
	case word == "":
		return "", errors.New("holds no secret: it is empty")
	case strings.ContainsAny(word, "\r\n\x00"):
		return "", errors.New("holds more than one line")
	case !strings.HasPrefix(word, r.prefix):
		return "", fmt.Errorf("holds something else: what is wanted begins with %s", r.prefix)
	case r.form == "base64":
		if _, err := base64.StdEncoding.DecodeString(word); err != nil {
			return "", errors.New("holds no base64")
		}
	}
	return word, nil
}

// readPrivate reads a file that only edgewatch and its group may read.
func readPrivate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("the file %s is open to everybody (mode %04o): chmod o= %[1]s", name, info.Mode().Perm())
	}
	return readSmall(name)
}

func readSmall(name string) ([]byte, error) {
	if strings.HasPrefix(name, credentialsDir) {
		return nil, errors.New("CREDENTIALS_DIRECTORY is not set: it is where systemd puts what LoadCredential= names")
	}
	// A pipe would be waited on.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	if len(b) > maxSecret {
		return nil, fmt.Errorf("the file %s is larger than 1 MiB", name)
	}
	return b, nil
}

func unreadable(name string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Errorf("the file %s cannot be read: %w", name, err)
}

// certificates checks the PEM files that a section names. A name that was
// inherited is checked where it was given.
func (c *Config) certificates(path string, v reflect.Value) {
	var cert, key []byte
	var last string
	for i := range v.NumField() {
		field := v.Type().Field(i)
		kind, at := field.Tag.Get("pem"), join(path, keyOf(field))
		if kind == "" || v.Field(i).String() == "" || !c.src.given(at) {
			continue
		}
		read := readSmall
		if kind == "key" {
			read = readPrivate
		}
		b, err := read(v.Field(i).String())
		if err != nil {
			c.src.unread(at, err)
			continue
		}
		switch kind {
		case "ca":
			if !x509.NewCertPool().AppendCertsFromPEM(b) {
				c.src.bad(at, "the file %s holds no certificate in PEM form", v.Field(i).String())
			}
		case "cert":
			cert = b
		case "key":
			key, last = b, at
		}
	}
	if cert != nil && key != nil {
		if _, err := tls.X509KeyPair(bytes.Clone(cert), key); err != nil {
			c.src.bad(last, "the certificate and its key do not fit together: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
}

// eachSection calls fn for every struct of the configuration, with its path.
func (c *Config) eachSection(fn func(path string, v reflect.Value)) {
	walk("", reflect.ValueOf(c).Elem(), fn)
}

func walk(path string, v reflect.Value, fn func(string, reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			walk(path, v.Elem(), fn)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), fn)
		}
	case v.Kind() == reflect.Map:
		for it := v.MapRange(); it.Next(); {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(it.Value())
			walk(join(path, it.Key().String()), item, fn)
			v.SetMapIndex(it.Key(), item)
		}
	case isStruct(v):
		fn(path, v)
		for i := range v.NumField() {
			if key := keyOf(v.Type().Field(i)); key != "" {
				walk(join(path, key), v.Field(i), fn)
			}
		}
	}
}

// eachSecret calls fn for every secret that is or could be referred to.
func (c *Config) eachSecret(fn func(secret)) {
	c.eachSection(func(path string, v reflect.Value) {
		words := map[string]string{}
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.String {
				words[keyOf(v.Type().Field(i))] = v.Field(i).String()
			}
		}
		for i := range v.NumField() {
			tag := v.Type().Field(i).Tag
			if key := tag.Get("secret"); key != "" {
				fn(secret{
					section: path, key: key, file: words[key+"_file"], env: words[key+"_env"],
					into: v.Field(i), optional: tag.Get("optional") == "true", prefix: tag.Get("prefix"), form: tag.Get("form"),
				})
			}
		}
	})
}
