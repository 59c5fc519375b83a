output "connect" {
  description = "The command that connects the bucket."
  value       = module.dagbucket.connect_bucket_commands["acme-dags"]
}

output "first_run" {
  description = "The command that runs both routes once, when the secrets are filled and the bucket is connected."
  value       = module.dagbucket.first_run_command
}

output "token_secrets" {
  description = "ARNs of the secrets to fill with the Deployments' API tokens."
  value       = { for name, secret in aws_secretsmanager_secret.token : name => secret.arn }
}
