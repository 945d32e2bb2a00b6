package google

import "context"

// Fetch asks for a token, past the cache.
func (p *Provider) Fetch(ctx context.Context) error {
	_, err := p.fetch(ctx)
	return err
}
