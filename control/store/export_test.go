package store

import "context"

// FeedForTest is a feed without a store.
type FeedForTest struct{ f *feed }

// NewFeedForTest makes one.
func NewFeedForTest(events, bytes int, revision uint64) FeedForTest {
	return FeedForTest{newFeed(events, bytes, revision)}
}

// Wait waits for a revision.
func (f FeedForTest) Wait(ctx context.Context, rev uint64) error { return f.f.wait(ctx, rev) }

// Close ends it.
func (f FeedForTest) Close() { f.f.close() }
