package service

// RunsAtOnce is for tests.
const RunsAtOnce = runsAtOnce

// OnSweep has runs collect their garbage as in a function, and tells of it.
func (s *Service) OnSweep(swept func()) {
	s.memory.collect, s.memory.sweep = func(int) {}, swept
}
