output "config_url" {
  description = "URL of the configuration file."
  value       = module.dagbucket.config_url
}
