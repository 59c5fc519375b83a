output "connect" {
  description = "The command that adds the module's entry to the bucket's notification document, and keeps all others."
  value       = module.dagbucket.connect_bucket_commands["acme-mwaa"]
}

output "fill_token" {
  description = "The command that stores the Astro API token."
  value       = module.dagbucket.fill_token_command
}
