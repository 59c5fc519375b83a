output "connect" {
  description = "The command that connects the bucket."
  value       = module.dagbucket.connect_bucket_commands["acme-dags"]
}

output "token_secrets" {
  description = "ARNs of the secrets to fill with the Deployments' API tokens."
  value       = { for name, secret in aws_secretsmanager_secret.token : name => secret.arn }
}
