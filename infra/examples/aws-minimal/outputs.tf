output "next" {
  description = "What to run after apply, in this order: store the token, connect the bucket, run once."
  value       = concat([module.dagbucket.fill_token_command], values(module.dagbucket.connect_bucket_commands), [module.dagbucket.first_run_command])
}
