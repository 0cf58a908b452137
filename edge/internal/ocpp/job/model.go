package job

import "sync"

// maxModels bounds the memory of models: beyond it, it begins anew.
const maxModels = 1000

// Models remembers, as long as the process lives, what the models of stations
// have shown they can do. The zero value is ready.
type Models struct {
	mu    sync.Mutex
	known map[string]*Model // by whatever names a model; guarded by mu
}

// Of returns what is known of the model called key.
func (m *Models) Of(key string) *Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.known[key]
	if one == nil {
		if m.known == nil {
			m.known = map[string]*Model{}
		}
		if len(m.known) >= maxModels {
			clear(m.known)
		}
		one = &Model{}
		m.known[key] = one
	}
	return one
}

// Model is what one model of station has shown that it can do.
type Model struct {
	mu      sync.Mutex // guards what follows
	refused map[string]bool
	numbers map[string]int
}

// Can tells that the model has not yet shown that it lacks a feature.
func (m *Model) Can(feature string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.refused[feature]
}

// Cannot remembers that the model lacks a feature.
func (m *Model) Cannot(feature string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = map[string]bool{}
	}
	m.refused[feature] = true
}

// Number returns a number that the model told, such as the most keys of a
// request.
func (m *Model) Number(name string) (n int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok = m.numbers[name]
	return n, ok
}

// Learn remembers a number.
func (m *Model) Learn(name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.numbers == nil {
		m.numbers = map[string]int{}
	}
	m.numbers[name] = n
}
