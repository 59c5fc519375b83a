output "connect" {
  description = "The command that connects the bucket."
  value       = module.dagbucket.connect_bucket_commands["acme-dags"]
}
