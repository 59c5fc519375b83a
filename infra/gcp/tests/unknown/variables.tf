# None: what is unknown is made in main.tf.
