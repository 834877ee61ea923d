package pki

import (
	"context"
	"log/slog"
	"time"
)

const (
	// checkEvery is how often the clock is read. Timers stand still while a
	// machine sleeps and know nothing of clock jumps, so one long timer to the
	// renewal would come late.
	checkEvery = 10 * time.Minute
	retryFirst = 15 * time.Second
	retryMost  = 30 * time.Minute
)

// SignFunc has a signing request signed: by a server, or by a server's own CA.
type SignFunc func(ctx context.Context, csr []byte) (cert, ca []byte, err error)

// Renewer keeps credentials fresh.
type Renewer struct {
	Credentials *Credentials
	Sign        SignFunc
	Logger      *slog.Logger
}

// Run renews the credentials whenever they are due, until the context ends.
func (r *Renewer) Run(ctx context.Context) error {
	retry := retryFirst
	for {
		wait := checkEvery
		if r.Credentials.Due() {
			err := r.Renew(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				r.Logger.Warn("certificate not renewed", "identity", r.Credentials.Identity().String(),
					"ends", r.Credentials.NotAfter(), "retry", retry, "error", err)
				wait = retry
				retry = min(2*retry, retryMost)
			default:
				r.Logger.Info("certificate renewed", "identity", r.Credentials.Identity().String(), "ends", r.Credentials.NotAfter())
				retry = retryFirst
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// Renew gets a new certificate for a new key, now.
func (r *Renewer) Renew(ctx context.Context) error {
	key, csr, err := NewRequest()
	if err != nil {
		return err
	}
	cert, ca, err := r.Sign(ctx, csr)
	if err != nil {
		return err
	}
	return r.Credentials.replace(cert, ca, key)
}

// Signer is the SignFunc of a server, which has the CA itself.
func (ca *CA) Signer(id Identity, now func() time.Time, hosts ...string) SignFunc {
	return func(_ context.Context, csr []byte) ([]byte, []byte, error) {
		cert, err := ca.Sign(csr, id, now(), hosts...)
		return cert, ca.Certificate(), err
	}
}
