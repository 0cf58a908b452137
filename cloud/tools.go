package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chargeyard/chargeyard/cloud/internal/api"
	"github.com/chargeyard/chargeyard/cloud/internal/broker"
	"github.com/chargeyard/chargeyard/cloud/internal/config"
	"github.com/chargeyard/chargeyard/cloud/internal/fleet"
	"github.com/chargeyard/chargeyard/cloud/internal/sqlite"
	"github.com/chargeyard/chargeyard/shared/event"
	"github.com/chargeyard/chargeyard/shared/wire"
	"github.com/google/uuid"
)

// withStore opens the database for a command that works beside a running
// manager.
func (s settings) withStore(env *surroundings, work func(ctx context.Context, store fleet.Store, conf config.Config) error) (err error) {
	conf, err := s.load()
	if err != nil {
		return err
	}
	store, err := sqlite.Open(env.ctx, conf.SQLite(), slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return work(env.ctx, store, conf)
}

type gatewayCommand struct {
	Add  gatewayAddCommand  `cmd:"" help:"Make a gateway known, or give it a new password; prints the password."`
	List gatewayListCommand `cmd:"" help:"List gateways, also those that only knock."`
}

type gatewayAddCommand struct {
	settings
	Name          string `arg:"" help:"The gateway's id: [a-z0-9][a-z0-9-]{0,39}. It is its MQTT user name and client id too."`
	Location      string `help:"The id of the location where it stands."`
	Format        string `enum:"plain,mosquitto" default:"plain" help:"plain prints the password alone; mosquitto the line for a Mosquitto password file, and the password on standard error."`
	PasswordStdin bool   `help:"Read the password from standard input instead of making one."`
}

// Run adds the gateway.
func (c *gatewayAddCommand) Run(env *surroundings) error {
	id := event.GatewayID(c.Name)
	if !wire.ValidGateway(id) {
		return fmt.Errorf("gateway id: expected [a-z0-9][a-z0-9-]{0,39}, got %q", c.Name)
	}
	if broker.Reserved(id) {
		return fmt.Errorf("gateway id: %s is the broker's own name, expected another", id)
	}
	secret := broker.NewSecret()
	if c.PasswordStdin {
		line, err := bufio.NewReader(env.stdin).ReadString('\n')
		secret = strings.TrimRight(line, "\r\n")
		if secret == "" {
			return fmt.Errorf("password: expected a line on standard input: %w", err)
		}
	}
	line := ""
	if c.Format == "mosquitto" {
		var err error
		if line, err = broker.MosquittoLine(id, secret); err != nil {
			return err
		}
	}
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		g, err := directory{store}.Owned(ctx, id)
		if errors.Is(err, fleet.ErrNotFound) {
			g, err = fleet.Gateway{ID: id, Tenant: fleet.DefaultTenant}, nil
		}
		if err != nil {
			return err
		}
		if c.Location != "" {
			g.Location = c.Location
		}
		if err := store.AddGateway(ctx, g, broker.HashSecret(secret)); err != nil {
			return err
		}
		if line == "" {
			_, err = fmt.Fprintln(env.stdout, secret)
			return err
		}
		if !c.PasswordStdin {
			if _, err := fmt.Fprintln(env.stderr, "password of "+c.Name+": "+secret); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(env.stdout, line)
		return err
	})
}

type gatewayListCommand struct{ settings }

// Run lists gateways.
func (c *gatewayListCommand) Run(env *surroundings) error {
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		out := tabwriter.NewWriter(env.stdout, 0, 4, 2, ' ', 0)
		if _, err := fmt.Fprintln(out, "GATEWAY\tCONNECTIVITY\tSINCE\tLOCATION\tVERSION"); err != nil {
			return err
		}
		page := fleet.Page{Limit: 1000}
		for {
			list, err := store.Gateways(ctx, fleet.Scope{Tenant: fleet.DefaultTenant}, page)
			if err != nil {
				return err
			}
			for _, g := range list.Items {
				since := ""
				if !g.Connectivity.AsOf.IsZero() {
					since = g.Connectivity.AsOf.Local().Format(time.DateTime)
				}
				if _, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", g.ID, g.Connectivity.Value, since, g.Location, g.Version); err != nil {
					return err
				}
			}
			if list.Next == "" {
				return out.Flush()
			}
			page.Cursor = list.Next
		}
	})
}

type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make an API token; prints it once and for all."`
	List   tokenListCommand   `cmd:"" help:"List API tokens, without their secrets."`
	Revoke tokenRevokeCommand `cmd:"" help:"Make an API token worthless."`
}

type tokenListCommand struct{ settings }

// Run lists API tokens.
func (c *tokenListCommand) Run(env *surroundings) error {
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		list, err := store.Accesses(ctx, fleet.DefaultTenant)
		if err != nil {
			return err
		}
		out := tabwriter.NewWriter(env.stdout, 0, 4, 2, ' ', 0)
		if _, err := fmt.Fprintln(out, "ID\tROLE\tNAME\tLOCATION"); err != nil {
			return err
		}
		for _, a := range list {
			if _, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", a.ID, a.Role, a.Name, a.Location); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

type tokenRevokeCommand struct {
	settings
	ID string `arg:"" help:"As token list shows it."`
}

// Run makes an API token worthless. A stream that it has opened goes on until it
// reconnects.
func (c *tokenRevokeCommand) Run(env *surroundings) error {
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		err := store.DeleteAccess(ctx, fleet.DefaultTenant, c.ID)
		if errors.Is(err, fleet.ErrNotFound) {
			return fmt.Errorf("there is no API token %s; token list shows those that there are", c.ID)
		}
		if err == nil {
			_, err = fmt.Fprintln(env.stdout, "revoked:", c.ID)
		}
		return err
	})
}

type tokenCreateCommand struct {
	settings
	Role     string `enum:"admin,operator,viewer" required:"" help:"admin may change everything, operator give commands, viewer look (${enum})."`
	Name     string `help:"Who or what uses it; stands in issued_by."`
	Location string `help:"Narrow it to one location."`
}

// Run makes an API token.
func (c *tokenCreateCommand) Run(env *surroundings) error {
	secret := api.NewToken()
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	name := c.Name
	if name == "" {
		name = c.Role
	}
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		err := store.AddAccess(ctx, fleet.Access{
			ID: id.String(), Name: name, Tenant: fleet.DefaultTenant, Location: c.Location, Role: fleet.Role(c.Role),
		}, api.HashToken(secret))
		if err == nil {
			_, err = fmt.Fprintln(env.stdout, secret)
		}
		return err
	})
}

type rebuildCommand struct{ settings }

// Run makes the projections anew.
func (c *rebuildCommand) Run(env *surroundings) error {
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		began := time.Now()
		var last time.Time
		var total int64
		err := store.Rebuild(ctx, func(done, all int64) {
			total = all
			if time.Since(last) > time.Second {
				last = time.Now()
				fmt.Fprintf(env.stderr, "%d of %d events\n", done, all) //nolint:errcheck // progress only
			}
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.stdout, "rebuilt from %d events in %s\n", total, time.Since(began).Round(time.Millisecond))
		return err
	})
}

type backupCommand struct {
	settings
	Path string `arg:"" type:"path" help:"Where to write the copy; the file must not exist."`
}

// Run writes a backup.
func (c *backupCommand) Run(env *surroundings) error {
	return c.withStore(env, func(ctx context.Context, store fleet.Store, _ config.Config) error {
		if err := store.Backup(ctx, c.Path); err != nil {
			return err
		}
		_, err := fmt.Fprintln(env.stdout, filepath.Clean(c.Path))
		return err
	})
}

// directory finds gateways of whatever tenant. All of them belong to the default
// one as long as nothing makes another.
type directory struct{ store fleet.Queries }

// Owned returns a gateway that somebody has added.
func (d directory) Owned(ctx context.Context, id event.GatewayID) (fleet.Gateway, error) {
	g, err := d.store.Gateway(ctx, fleet.Scope{Tenant: fleet.DefaultTenant}, id)
	if err == nil && g.Connectivity.Value == fleet.Knocking {
		return fleet.Gateway{}, fmt.Errorf("gateway %s: %w", id, fleet.ErrNotFound)
	}
	return g, err
}

// All returns every gateway that somebody has added.
func (d directory) All(ctx context.Context) ([]event.GatewayID, error) {
	var out []event.GatewayID
	page := fleet.Page{Limit: 1000}
	for {
		list, err := d.store.Gateways(ctx, fleet.Scope{Tenant: fleet.DefaultTenant}, page)
		if err != nil {
			return nil, err
		}
		for _, g := range list.Items {
			if g.Connectivity.Value != fleet.Knocking {
				out = append(out, g.ID)
			}
		}
		if list.Next == "" {
			return out, nil
		}
		page.Cursor = list.Next
	}
}
