package configs

func (c *Config) validate() {}
