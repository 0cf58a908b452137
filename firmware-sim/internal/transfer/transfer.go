// Package transfer moves files between a charger and the web, as firmware
// updates and logs want it: HTTP GET and PUT, repeated as the order says.
package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	transferTimeout = 2 * time.Minute
	maxFirmware     = 64 << 20 // bytes
)

// Repeat does work as often as the order says; by itself once more after ten
// seconds.
func Repeat(ctx context.Context, retries, interval *int64, work func() ([]byte, error)) ([]byte, error) {
	left, pause := int64(1), 10*time.Second
	if retries != nil {
		left = min(*retries, 100)
	}
	if interval != nil {
		pause = time.Duration(*interval) * time.Second
	}
	for {
		b, err := work()
		if err == nil || left <= 0 {
			return b, err
		}
		left--
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// web checks that a location can be reached by HTTP, the only protocol that the
// charge point has (key SupportedFileTransferProtocols).
func web(location string) (*url.URL, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q: expected http:// or https://", location)
	}
	return u, nil
}

func transfer(ctx context.Context, method, location string, content []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, location, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFirmware+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, fmt.Errorf("%s %s was answered with %s", method, location, resp.Status)
	case len(body) > maxFirmware:
		return nil, fmt.Errorf("%s is larger than %d bytes", location, maxFirmware)
	}
	return body, nil
}

// Download fetches a file.
func Download(ctx context.Context, location string) ([]byte, error) {
	u, err := web(location)
	if err != nil {
		return nil, err
	}
	return transfer(ctx, http.MethodGet, u.String(), nil)
}

// Put uploads a file to a location; one that ends with a slash is a folder.
func Put(ctx context.Context, location, name string, content []byte) error {
	u, err := web(location)
	if err != nil {
		return err
	}
	if u.Path == "" || u.Path[len(u.Path)-1] == '/' {
		u = u.JoinPath(name)
	}
	_, err = transfer(ctx, http.MethodPut, u.String(), content)
	return err
}
